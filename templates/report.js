"use strict";
// Comfort only: copy, sort, filter. The report is complete without it.
(function () {
  var words = document.body.dataset;

  document.querySelectorAll(".code").forEach(function (box) {
    var pre = box.querySelector("pre");
    var button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = words.copy;
    button.setAttribute("aria-label", words.copy + ": " + (box.getAttribute("data-label") || words.snippet));
    button.addEventListener("click", function () {
      var done = function () {
        button.textContent = words.copied;
        setTimeout(function () { button.textContent = words.copy; }, 1500);
      };
      var select = function () {
        var range = document.createRange();
        range.selectNodeContents(pre);
        var selection = window.getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
      };
      if (navigator.clipboard) { navigator.clipboard.writeText(pre.textContent).then(done, select); } else { select(); }
    });
    box.classList.add("copyable");
    box.appendChild(button);
  });

  function key(text) {
    var plain = text.replace(/,/g, "").replace(/\u2212/g, "-").trim();
    var value = parseFloat(plain);
    if (isNaN(value)) { return null; }
    var unit = { kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15 }[plain.slice(-2)];
    return unit ? value * unit : value;
  }

  document.querySelectorAll("table.sortable").forEach(function (table) {
    var body = table.tBodies[0];
    if (body.rows.length < 3) { return; }
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      button.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") === "ascending";
        table.querySelectorAll("[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var rows = Array.prototype.slice.call(body.rows).map(function (row) {
          var text = row.cells[column].textContent;
          return { row: row, text: text, value: key(text) };
        });
        rows.sort(function (a, b) {
          if (a.value !== null && b.value !== null) { return a.value - b.value; }
          if (a.value !== null) { return -1; }
          if (b.value !== null) { return 1; }
          return a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
        });
        if (down) { rows.reverse(); }
        rows.forEach(function (item) { body.appendChild(item.row); });
      });
    });
  });

  document.querySelectorAll("table.filterable").forEach(function (table) {
    var scroll = table.closest(".scroll");
    var label = document.createElement("label");
    label.className = "filter";
    label.textContent = words.filter + " ";
    var input = document.createElement("input");
    input.type = "search";
    label.appendChild(input);
    input.addEventListener("input", function () {
      var wanted = input.value.toLowerCase();
      Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
        row.hidden = row.textContent.toLowerCase().indexOf(wanted) < 0;
      });
    });
    scroll.parentNode.insertBefore(label, scroll);
  });

  function reveal() {
    var target = location.hash && document.getElementById(location.hash.slice(1));
    var box = target && target.querySelector("details");
    if (box && target.classList.contains("mode")) { box.open = true; }
  }
  window.addEventListener("hashchange", reveal);
  reveal();
})();
