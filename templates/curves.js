// Comfort only: read values off the curves and zoom into a stretch of steps, with a slider, buttons or the mouse.
(function () {
  var SVG = "http://www.w3.org/2000/svg";
  var VERTEX = /([ML])(-?[\d.]+) (-?[\d.]+)/g;

  function format(value) {
    var size = Math.abs(value);
    if (value !== 0 && (size >= 1e5 || size < 1e-3)) { return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e").replace(/-/g, "\u2212"); }
    return String(Number(value.toPrecision(3))).replace("-", "\u2212");
  }

  // The value at a height of a panel: [top, bottom, low, high, scale, …].
  function value(panel, y) {
    var share = (panel[1] - y) / (panel[1] - panel[0]), linear = 1 / 0.9;  // matplotlib's symlog, linear up to 1
    function to(v) {
      if (panel[4] === "log") { return Math.log10(v); }
      if (panel[4] === "symlog") { return Math.abs(v) <= 1 ? v * linear : Math.sign(v) * (linear + Math.log10(Math.abs(v))); }
      return v;
    }
    var at = to(panel[2]) + share * (to(panel[3]) - to(panel[2]));
    if (panel[4] === "log") { return Math.pow(10, at); }
    if (panel[4] === "symlog") { return Math.abs(at) <= linear ? at / linear : Math.sign(at) * Math.pow(10, Math.abs(at) - linear); }
    return at;
  }

  function chart(svg) {
    var ruler = JSON.parse(svg.getAttribute("data-ruler")), left = ruler.x[0], right = ruler.x[1];
    var whole = [ruler.x[2], ruler.x[3]], lines = {}, first = ruler.panels[0], last = ruler.panels[ruler.panels.length - 1];
    var shapes = [], ticks = Array.prototype.slice.call(svg.querySelectorAll("[data-tick] text")), made = [];
    svg.querySelectorAll("[data-series] path, [data-moves] path").forEach(function (path) {
      if (!path.closest("defs")) { shapes.push({ path: path, d: path.getAttribute("d") }); }
    });
    var places = Array.prototype.map.call(svg.querySelectorAll("[data-series] use, [data-moves] use, [data-moves] text"), function (item) {
      return { item: item, x: parseFloat(item.getAttribute("x")) };
    });
    svg.querySelectorAll("[data-series]").forEach(function (group) {
      var path = group.querySelector(":scope > path"), pieces = [], match;
      if (!path) { return; }
      VERTEX.lastIndex = 0;
      while ((match = VERTEX.exec(path.getAttribute("d")))) {
        if (match[1] === "M") { pieces.push([]); }
        pieces[pieces.length - 1].push([parseFloat(match[2]), parseFloat(match[3])]);
      }
      lines[group.getAttribute("data-series")] = pieces;
    });
    var cursor = document.createElementNS(SVG, "path");
    cursor.setAttribute("class", "cursor");
    svg.appendChild(cursor);

    function drawn(step) { return left + (step - whole[0]) / (whole[1] - whole[0]) * (right - left); }
    function height(pieces, x) {
      for (var p = 0; p < pieces.length; p++) {
        var piece = pieces[p], i = 0;
        if (x < piece[0][0] - 0.1 || x > piece[piece.length - 1][0] + 0.1) { continue; }
        while (i < piece.length - 1 && piece[i + 1][0] < x) { i++; }
        var a = piece[i], b = piece[Math.min(i + 1, piece.length - 1)];
        return b[0] > a[0] ? a[1] + (b[1] - a[1]) * Math.max(0, Math.min(1, (x - a[0]) / (b[0] - a[0]))) : a[1];
      }
      return null;
    }
    return {
      svg: svg, whole: whole,
      step: function (clientX, view) {
        var box = svg.getBoundingClientRect(), x = (clientX - box.left) / box.width * svg.viewBox.baseVal.width;
        return view[0] + Math.max(0, Math.min(1, (x - left) / (right - left))) * (view[1] - view[0]);
      },
      read: function (step) {
        var x = drawn(step);
        return ruler.panels.map(function (panel) {
          var told = panel[6].map(function (line) {
            var y = lines[line[0]] ? height(lines[line[0]], x) : null;
            return y === null ? "" : (line[1] ? line[1] + " " : "") + format(value(panel, y));
          }).filter(Boolean);
          return told.length ? [panel[5], told.join(", ")] : null;
        }).filter(Boolean);
      },
      point: function (step, view) {
        var x = left + (step - view[0]) / (view[1] - view[0]) * (right - left);
        cursor.setAttribute("d", x < left || x > right ? "" : "M" + x.toFixed(1) + " " + first[0] + "V" + last[1]);
      },
      show: function (view) {
        var zoomed = view[0] > whole[0] || view[1] < whole[1], from = drawn(view[0]), by = (right - left) / (drawn(view[1]) - from);
        function moved(x) { return zoomed ? left + (x - from) * by : x; }
        shapes.forEach(function (shape) {
          shape.path.setAttribute("d", zoomed ? shape.d.replace(VERTEX, function (_, letter, x, y) { return letter + moved(parseFloat(x)).toFixed(1) + " " + y; }) : shape.d);
        });
        places.forEach(function (place) {
          var x = moved(place.x);
          place.item.setAttribute("x", x.toFixed(1));
          place.item.setAttribute("visibility", x < left - 12 || x > right + 1 ? "hidden" : "visible");
        });
        made.forEach(function (tick) { tick.remove(); });
        made = [];
        ticks.forEach(function (tick) { tick.setAttribute("visibility", zoomed ? "hidden" : "visible"); });
        if (!zoomed || !ticks.length) { return; }
        var apart = (view[1] - view[0]) / 6, ten = Math.pow(10, Math.floor(Math.log10(apart)));
        apart = [1, 2, 5, 10].map(function (n) { return n * ten; }).filter(function (n) { return n >= apart; })[0];
        for (var at = Math.ceil(view[0] / apart) * apart; at <= view[1]; at += apart) {
          var tick = ticks[0].cloneNode(true);
          tick.setAttribute("x", moved(drawn(at)).toFixed(1));
          tick.setAttribute("visibility", "visible");
          tick.textContent = Number(at.toPrecision(10)).toLocaleString("en");
          ticks[0].parentNode.appendChild(tick);
          made.push(tick);
        }
      }
    };
  }

  document.querySelectorAll("figure.chart").forEach(function (figure) {
    var charts = Array.prototype.map.call(figure.querySelectorAll("svg[data-ruler]"), chart), words = figure.dataset;
    if (!charts.length) { return; }
    var whole = charts[0].whole, view = whole.slice(), bar = document.createElement("div");
    bar.className = "reader";
    var label = document.createElement("label"), slider = document.createElement("input"), reading = document.createElement("p");
    slider.type = "range";
    label.append(words.unit + " ", slider);
    reading.className = "reading";
    reading.textContent = words.hint;
    function button(text, act) {
      var one = document.createElement("button");
      one.type = "button";
      one.textContent = text;
      one.addEventListener("click", act);
      return one;
    }
    var out = button(words.out, function () { look(whole[0], whole[1]); });
    var closer = button(words["in"], function () {
      var half = (view[1] - view[0]) / 4, middle = Math.max(view[0] + half, Math.min(view[1] - half, parseFloat(slider.value)));
      look(middle - half, middle + half);
    });
    function look(from, to) {
      view = [from, to];
      var at = Math.max(from, Math.min(to, parseFloat(slider.value)));
      slider.min = from;
      slider.max = to;
      slider.step = (to - from) / 1000;
      slider.value = at;
      out.disabled = from <= whole[0] && to >= whole[1];
      closer.disabled = to - from < (whole[1] - whole[0]) / 500;
      charts.forEach(function (one) { one.show(view); });
      if (figure.classList.contains("read")) { tell(at); }
    }
    function tell(step) {
      figure.classList.add("read");
      slider.value = step;
      var told = charts[0].read(step), at = words.unit + " " + Number(step.toPrecision(view[1] - view[0] > 50 ? Math.max(1, String(Math.round(Math.abs(step))).length) : 6)).toLocaleString("en");
      reading.textContent = "";
      reading.append(at, document.createElement("br"));
      told.forEach(function (pair) {
        var item = document.createElement("span"), name = document.createElement("b");
        name.textContent = pair[0];
        item.append(name, " " + pair[1]);
        reading.append(item, " ");
      });
      slider.setAttribute("aria-valuetext", at + ": " + told.map(function (pair) { return pair.join(" "); }).join("; "));
      charts.forEach(function (one) { one.point(step, view); });
    }
    slider.addEventListener("input", function () { tell(parseFloat(slider.value)); });
    charts.forEach(function (one) {
      var start = null;
      one.svg.addEventListener("pointermove", function (event) { tell(one.step(event.clientX, view)); });
      one.svg.addEventListener("pointerdown", function (event) { start = event.pointerType === "mouse" ? event.clientX : null; event.preventDefault(); });
      one.svg.addEventListener("pointerup", function (event) {
        if (start !== null && Math.abs(event.clientX - start) > 12) {
          var ends = [one.step(start, view), one.step(event.clientX, view)].sort(function (a, b) { return a - b; });
          if (ends[1] - ends[0] > (whole[1] - whole[0]) / 1000) { look(ends[0], ends[1]); }
        }
        start = null;
      });
      one.svg.addEventListener("dblclick", function () { look(whole[0], whole[1]); });
    });
    slider.min = whole[0];
    slider.max = whole[1];
    slider.value = (whole[0] + whole[1]) / 2;
    bar.append(label, closer, out, reading);
    figure.insertBefore(bar, figure.firstChild);
    look(whole[0], whole[1]);
  });
})();
