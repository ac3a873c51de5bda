"use strict";
// The report's viewer: heatmaps of one run beside the truth, through lead time.
(() => {
  const element = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(element(id).textContent);
  const runs = read("viewer-runs");
  const blobs = read("viewer-blobs");
  const viewer = element("viewer"), panels = element("panels"), curves = element("curves");
  const slider = element("lead"), shown = element("lead-shown"), play = element("play");
  const note = element("viewer-note");
  const choose = Object.fromEntries(
    ["dataset", "model", "trajectory", "field"].map((name) => [name, element(`choose-${name}`)]),
  );
  const UNITS = "data's units";
  // ColorBrewer's RdBu, blue below zero.
  const DIVERGING = [
    "#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7",
    "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f",
  ].map((colour, i) => [i / 10, colour]);
  const SEQUENTIAL = DIVERGING.slice(5).map(([at, colour]) => [2 * at - 1, colour]);
  const PLAIN = { displayModeBar: false, responsive: false };
  let run, x, y, sequences, names, codes, timer;
  let latest = 0;

  // --- Packed sequences ---

  async function unpack(place, shape) {
    const packed = Uint8Array.from(atob(blobs[place]), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const data = new Uint8Array(await new Response(stream).arrayBuffer());
    const [times, nx, ny] = shape;
    // Differences along x, then along time, are summed up again; bytes wrap around by themselves.
    for (let t = 0; t < times; t++) {
      for (let i = t * nx * ny + ny; i < (t + 1) * nx * ny; i++) data[i] += data[i - ny];
    }
    for (let i = nx * ny; i < data.length; i++) data[i] += data[i - nx * ny];
    return data;
  }

  // The picture of a panel at a lead time: rows along y, as Plotly wants it.
  function picture(name, time) {
    const [, low, step] = sequences.panels[name];
    const nx = x.length, ny = y.length;
    const place = run.flat ? 0 : time;
    const data = codes[name].subarray(place * nx * ny, (place + 1) * nx * ny);
    return Array.from({ length: ny }, (_, j) =>
      Float32Array.from({ length: nx }, (_, i) => low + step * data[i * ny + j]),
    );
  }

  // --- Drawing ---

  function style() {
    const found = getComputedStyle(document.documentElement);
    const colour = (name) => found.getPropertyValue(name).trim();
    return { text: colour("--text"), muted: colour("--muted"), line: colour("--line") };
  }

  function colouring(name) {
    const limit = sequences.limit || 1;
    if (name.startsWith("error")) return { colorscale: DIVERGING, zmin: -limit, zmax: limit };
    if (name === "spread") return { colorscale: SEQUENTIAL, zmin: 0, zmax: limit };
    const [low, high] = sequences.range;
    const colorscale = sequences.scale === "diverging" ? DIVERGING : "Viridis";
    return { colorscale, zmin: low, zmax: high > low ? high : low + 1 };
  }

  // Logarithms are shown as powers of ten.
  function powers(name) {
    const states = !name.startsWith("error") && name !== "spread";
    return states && sequences.scale === "log" ? ["10<sup>", "</sup>"] : ["", ""];
  }

  function drawPanels() {
    const { text, muted } = style();
    const width = panels.clientWidth;
    const span = (values) => Math.abs(values[values.length - 1] - values[0]) || 1;
    const aspect = run.flat ? 2 : span(x) / span(y);
    const columns = width < 480 ? 1 : aspect > 2 || names.length < 5 || width < 640 ? 2 : 3;
    const rows = Math.ceil(names.length / columns);
    const bar = 62, top = 22, left = 46, bottom = 34;
    const w = (width - left) / columns - bar;
    const h = Math.min(Math.max(w / aspect, 70), 420);
    const height = rows * (h + top) + bottom;
    const layout = {
      width, height, margin: { l: 0, r: 0, t: 0, b: 0 }, annotations: [],
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, family: "inherit", size: 11 }, dragmode: "zoom",
    };
    const traces = names.map((name, k) => {
      const column = k % columns, row = Math.floor(k / columns), id = k ? k + 1 : "";
      const x0 = (left + column * (w + bar)) / width, x1 = x0 + w / width;
      const y1 = 1 - (row * (h + top) + top) / height, y0 = y1 - h / height;
      const axis = { showgrid: false, zeroline: false, color: muted, ticks: "outside", ticklen: 3 };
      const last = k + columns >= names.length;
      layout[`xaxis${id}`] = {
        ...axis, domain: [x0, x1], anchor: `y${id}`, showticklabels: last,
        ...(k ? { matches: "x" } : {}), ...(last ? { title: title(run.axes[0]) } : {}),
      };
      layout[`yaxis${id}`] = {
        ...axis, domain: [y0, y1], anchor: `x${id}`, showticklabels: !column, nticks: 4,
        ...(k ? { matches: "y" } : {}), ...(column ? {} : { title: title(run.axes[1]) }),
      };
      layout.annotations.push({
        text: name, x: x0, y: y1, xref: "paper", yref: "paper", xanchor: "left",
        yanchor: "bottom", showarrow: false, font: { size: 12 },
      });
      const half = (sequences.panels[name][2] / 2).toPrecision(1);
      const [before, after] = powers(name);
      return {
        type: "heatmap", x, y, z: picture(name, +slider.value),
        xaxis: `x${id}`, yaxis: `y${id}`, ...colouring(name),
        colorbar: {
          x: x1, xpad: 4, y: (y0 + y1) / 2, len: h, lenmode: "pixels", thickness: 7, ypad: 0,
          outlinewidth: 0, nticks: 5, tickfont: { size: 10 }, ticklen: 2,
          tickprefix: before, ticksuffix: after,
        },
        hovertemplate:
          `${run.axes[0]} %{x:.4~g}, ${run.axes[1]} %{y:.4~g} (${UNITS})<br>` +
          `${before}%{z:.4~g} ± ${half}${after} (${UNITS})<extra>${name}</extra>`,
      };
    });
    return Plotly.react(panels, traces, layout, PLAIN);
  }

  const title = (text) => ({ text, standoff: 4 });

  function marker() {
    const at = run.lead_times[+slider.value];
    return [{
      type: "line", x0: at, x1: at, yref: "paper", y0: 0, y1: 1,
      line: { color: style().text, width: 1.5, dash: "dot" },
    }];
  }

  // Of one space axis, every panel shows all lead times: where the slider is.
  const markers = () => names.flatMap((_, k) => {
    const id = k ? k + 1 : "";
    return marker().map((line) => ({ ...line, xref: `x${id}`, yref: `y${id} domain` }));
  });

  function drawCurves() {
    const { text, muted, line } = style();
    const i = choose.trajectory.selectedIndex, c = choose.field.selectedIndex;
    const traces = [];
    for (const other of runs.filter((each) => each.dataset === run.dataset)) {
      const found = other.sequences[i]?.[c]?.curves;
      if (!found) continue;
      const common = { x: other.all_lead_times, mode: "lines", hoverinfo: "x+y+name" };
      traces.push({
        ...common, y: found.vrmse, name: other.run,
        line: { color: other.colour, width: other === run ? 3 : 1.3 },
      });
      if (other === run && found.spread) {
        traces.push({
          ...common, y: found.spread, name: "its spread", line: { color: other.colour, dash: "dash" },
        });
      }
    }
    const axis = { color: muted, gridcolor: line, zeroline: false };
    return Plotly.react(curves, traces, {
      width: curves.clientWidth, height: 170, margin: { l: 48, r: 8, t: 8, b: 34 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, family: "inherit", size: 11 }, hovermode: "closest",
      xaxis: { ...axis, title: title("lead time (solver steps)") },
      yaxis: { ...axis, title: title("VRMSE"), rangemode: "tozero" },
      shapes: marker(), showlegend: true,
    }, PLAIN);
  }

  async function drawTime() {
    const time = +slider.value;
    shown.textContent = `${run.lead_times[time]}`;
    slider.setAttribute("aria-valuetext", `lead time ${run.lead_times[time]}`);
    if (run.flat) await Plotly.relayout(panels, { shapes: markers() });
    else await Plotly.restyle(panels, { z: names.map((name) => picture(name, time)) });
    await Plotly.relayout(curves, { shapes: marker() });
    viewer.dataset.time = time;
  }

  // --- Choosing ---

  function fill(select, texts) {
    const before = select.value;
    select.replaceChildren(...texts.map((text) => new Option(text)));
    if (texts.includes(before)) select.value = before;
  }

  async function select() {
    const ticket = ++latest;
    const there = runs.filter((each) => each.dataset === choose.dataset.value);
    fill(choose.model, there.map((each) => each.run));
    run = there[choose.model.selectedIndex];
    fill(choose.trajectory, run.trajectories.map(String));
    fill(choose.field, run.fields);
    // Early enough for the errors to be small, late enough for them to be seen.
    const before = sequences ? +slider.value / +slider.max : 0.25;
    const chosen = run.sequences[choose.trajectory.selectedIndex][choose.field.selectedIndex];
    const points = [run.x, run.y].map((axis) => axis[choose.trajectory.selectedIndex]);
    const count = run.lead_times.length;
    const shape = [run.flat ? 1 : count, ...points.map((axis) => axis.length)];
    const entries = Object.entries(chosen.panels);
    const unpacked = await Promise.all(entries.map(([, [place]]) => unpack(place, shape)));
    if (ticket !== latest) return;
    sequences = chosen;
    [x, y] = points;
    names = entries.map(([name]) => name);
    codes = Object.fromEntries(names.map((name, k) => [name, unpacked[k]]));
    slider.max = count - 1;
    slider.value = Math.round(before * slider.max);
    await drawPanels();
    await drawCurves();
    await drawTime();
    viewer.dataset.ready = ticket;
  }

  const step = (by) => {
    slider.value = (+slider.value + by + +slider.max + 1) % (+slider.max + 1);
    return drawTime();
  };

  function toggle() {
    const playing = timer === undefined;
    timer = playing ? setInterval(() => step(1), 200) : clearInterval(timer);
    play.textContent = playing ? "Pause" : "Play";
  }

  function guarded(action) {
    return (event) =>
      Promise.resolve(action(event)).catch((error) => {
        note.textContent = `The viewer stopped: ${error.message}`;
        console.error(error);
      });
  }

  // --- Start ---

  fill(choose.dataset, [...new Set(runs.map((each) => each.dataset))]);
  for (const each of Object.values(choose)) each.addEventListener("change", guarded(select));
  slider.addEventListener("input", guarded(drawTime));
  play.addEventListener("click", guarded(toggle));
  viewer.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.matches("select, input")) return;
    event.preventDefault();
    guarded(() => step(by))();
  });
  curves.tabIndex = panels.tabIndex = 0;
  const redraw = guarded(async () => {
    if (!codes) return;
    await drawPanels();
    await drawCurves();
  });
  new ResizeObserver(redraw).observe(viewer);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  guarded(select)();
})();
