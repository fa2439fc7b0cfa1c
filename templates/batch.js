"use strict";
// Sorts, filters and turns the pages of the table of runs. The page says what matters without it.
(function () {
  var data = JSON.parse(document.getElementById("data").textContent);
  var NAME = 0, WHAT = 1, CAUSE = 2, SEVERITY = 3, ONSET = 5, GPU = 6, HOURS = 7, STEPS = 8, GROUP = 9, CURVE = 10, REPORT = 11, SUMMARY = 12, USER = 13, NODE = 14, WEEK = 15, AXIS = 16;
  var LEVELS = "0123456789abcdefghijklmnopqrstuv", PAGE = 100, SVG = "http://www.w3.org/2000/svg";
  var SEVERITIES = ["", "minor", "serious", "fatal"];
  var labels = data.labels, words = data.words, rows = data.rows, table = document.getElementById("table"), body = table.tBodies[0];
  var chosen = rows, page = 0;
  var hay = rows.map(function (r) {
    return [r[NAME], words[r[WHAT]], words[r[CAUSE]], words[r[SUMMARY]], words[r[USER]], words[r[NODE]], words[r[WEEK]]].join("\n").toLowerCase();
  });
  rows.forEach(function (r, i) { r.order = i; });

  function make(tag, text, name) {
    var element = document.createElement(tag);
    if (text) { element.textContent = text; }
    if (name) { element.className = name; }
    return element;
  }

  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, function (whole, key) { return key in values ? values[key] : whole; });
  }

  function number(value) {
    if (value === null) { return ""; }
    var size = Math.abs(value);
    return size >= 1e7 || (size > 0 && size < 1e-3) ? value.toExponential(2) : String(Math.abs(value) >= 100 ? Math.round(value) : +value.toPrecision(3));
  }

  function cost(r) {
    if (r[GPU] !== null) { return fill(labels.gpu, { n: number(r[GPU]) }); }
    var h = r[HOURS];
    if (h !== null) { return h < 1 / 60 ? Math.round(h * 3600) + " s" : h < 1 ? Math.round(h * 60) + " min" : number(h) + " h"; }
    return r[STEPS] === null ? "" : fill(labels[r[AXIS]], { n: number(r[STEPS]) });
  }

  function spark(curve) {
    var d = "", bad = "", pen = "M";
    for (var x = 0; x < curve.length; x++) {
      var y = LEVELS.indexOf(curve[x]);
      if (y < 0) {
        if (curve[x] === "!") { bad += "M" + x + " 31h1"; }
        pen = "M";
      } else { d += pen + x + " " + (31 - y); pen = "L"; }
    }
    var svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "spark");
    svg.setAttribute("viewBox", "-1 -1 42 34");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    [[d, "s-train"], [bad, "s-nan"]].forEach(function (pair) {
      if (!pair[0]) { return; }
      var path = document.createElementNS(SVG, "path");
      path.setAttribute("d", pair[0]);
      path.setAttribute("class", pair[1]);
      svg.appendChild(path);
    });
    return svg;
  }

  function line(r) {
    var tr = make("tr"), th = make("th"), td = make("td", words[r[WHAT]]);
    th.scope = "row";
    if (r[REPORT]) {
      var link = make("a", r[NAME]);
      link.href = "reports/" + encodeURIComponent(r[REPORT]);
      th.appendChild(link);
    } else { th.textContent = r[NAME]; }
    tr.appendChild(th);
    if (words[r[CAUSE]]) {
      td.appendChild(make("br"));
      td.appendChild(make("span", words[r[CAUSE]], "muted"));
    }
    tr.appendChild(td);
    td = make("td");
    if (r[SEVERITY]) { td.appendChild(make("span", labels[SEVERITIES[r[SEVERITY]]], "tag sev-" + SEVERITIES[r[SEVERITY]])); }
    tr.appendChild(td);
    tr.appendChild(make("td", number(r[ONSET]), "num"));
    tr.appendChild(make("td", cost(r), "num"));
    td = make("td");
    if (r[CURVE]) { td.appendChild(spark(r[CURVE])); }
    tr.appendChild(td);
    td = make("td", words[r[SUMMARY]], "detail");
    var where = [words[r[USER]], words[r[NODE]], words[r[WEEK]]].filter(Boolean).join(" · ");
    if (where) {
      td.appendChild(make("br"));
      td.appendChild(make("span", where, "muted"));
    }
    tr.appendChild(td);
    return tr;
  }

  var pager = document.getElementById("pager"), controls = document.getElementById("controls");
  var back = make("button", labels.back, "turn"), on = make("button", labels.on, "turn"), at = make("span");
  at.setAttribute("aria-live", "polite");
  [back, at, on].forEach(function (e) { pager.appendChild(e); });
  back.type = on.type = "button";

  function show() {
    var pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    page = Math.min(page, pages - 1);
    var fresh = make("tbody");
    chosen.slice(page * PAGE, (page + 1) * PAGE).forEach(function (r) { fresh.appendChild(line(r)); });
    table.replaceChild(fresh, body);
    body = fresh;
    at.textContent = fill(labels.shown, { n: chosen.length, all: rows.length, page: page + 1, pages: pages });
    back.disabled = page === 0;
    on.disabled = page >= pages - 1;
  }
  back.addEventListener("click", function () { page--; show(); });
  on.addEventListener("click", function () { page++; show(); });

  function labelled(text, field) {
    var label = make("label", text);
    label.appendChild(field);
    controls.appendChild(label);
    return field;
  }
  function options(field, any, list) {
    field.appendChild(new Option(any, ""));
    list.forEach(function (pair) { field.appendChild(new Option(pair[1], String(pair[0]))); });
    return field;
  }
  var filter = labelled(labels.filter, make("input"));
  filter.type = "search";
  var count = {};
  rows.forEach(function (r) { count[r[WHAT]] = (count[r[WHAT]] || 0) + 1; });
  var verdicts = Object.keys(count).sort(function (a, b) { return count[b] - count[a]; });
  var verdict = labelled(labels.verdict, options(make("select"), labels.all, verdicts.map(function (w) { return [w, words[w] + " (" + count[w] + ")"]; })));
  var group = labelled(labels.group, options(make("select"), labels.all, data.groups.map(function (g, i) { return [i, g]; })));
  var sorted = { column: -1, down: false };

  function value(r, column) {
    switch (column) {
      case 0: return r[NAME];
      case 1: return words[r[WHAT]] + "\n" + words[r[CAUSE]];
      case 2: return r[SEVERITY];
      case 3: return r[ONSET];
      case 4: return r[GPU] !== null ? r[GPU] * 1e9 : r[HOURS] !== null ? r[HOURS] * 1e9 : r[STEPS];
      case 5: return r[CURVE];
      default: return words[r[SUMMARY]];
    }
  }

  function choose() {
    var text = filter.value.toLowerCase();
    chosen = rows.filter(function (r) {
      return (!text || hay[r.order].indexOf(text) >= 0) && (!verdict.value || r[WHAT] === +verdict.value) && (!group.value || r[GROUP] === +group.value);
    });
    if (sorted.column >= 0) {
      chosen = chosen.map(function (r) { return [value(r, sorted.column), r]; });
      chosen.sort(function (a, b) {
        if (a[0] === null || b[0] === null) { return a[0] === b[0] ? a[1].order - b[1].order : a[0] === null ? 1 : -1; }
        var less = a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
        return (sorted.down ? -less : less) || a[1].order - b[1].order;
      });
      chosen = chosen.map(function (pair) { return pair[1]; });
    }
    page = 0;
    show();
  }
  var waiting = 0;
  filter.addEventListener("input", function () { clearTimeout(waiting); waiting = setTimeout(choose, 120); });
  verdict.addEventListener("change", choose);
  group.addEventListener("change", choose);
  document.querySelectorAll(".in-table").forEach(function (link) {
    link.addEventListener("click", function () {
      filter.value = verdict.value = "";
      group.value = link.getAttribute("data-group");
      choose();
    });
  });

  Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
    var button = make("button", head.textContent, "sort");
    button.type = "button";
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () {
      sorted = { column: column, down: sorted.column === column ? !sorted.down : column === 2 || column === 4 };
      table.querySelectorAll("[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      choose();
    });
  });
  var cut = document.getElementById("cut");
  if (cut) { cut.hidden = true; }
  controls.hidden = pager.hidden = false;
  show();
})();
