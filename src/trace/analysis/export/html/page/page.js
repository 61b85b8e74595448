'use strict';

// What is shown. Its shape is that of `Page` in html.rs; all times are nanoseconds since the trace begins.
const page = JSON.parse(document.getElementById('data').textContent);

const $ = (id) => document.getElementById(id);

// Makes an element. Texts of the trace go through `textContent` only: they may be anything.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const child of children) element.append(child);
  return element;
}

function draw(tag, attributes = {}, text) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Numbers as texts.

function time(nanos) {
  const sign = nanos < 0 ? '−' : '';
  const value = Math.abs(nanos);
  for (const [unit, size] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]]) {
    if (value >= size) {
      const number = value / size;
      return `${sign}${number.toFixed(number >= 100 ? 0 : number >= 10 ? 1 : 2)} ${unit}`;
    }
  }
  return `${sign}${Math.round(value)} ns`;
}

// With so many digits that two moments a `step` apart differ.
function moment(nanos, step) {
  const [unit, size] = [['s', 1e9], ['ms', 1e6], ['µs', 1e3]].find(([, size]) => nanos >= size || step >= size) ?? ['ns', 1];
  const digits = Math.max(0, Math.min(9, Math.ceil(Math.log10(size / Math.max(step, 1)) - 1e-9)));
  return `${(nanos / size).toFixed(digits)} ${unit}`;
}

const count = (number) => number.toLocaleString('en-US');
const percent = (part) => `${(100 * part).toFixed(part >= 0.0995 || part === 0 ? 0 : 1)} %`;

// Greenlets.

const text = (index) => page.texts[index] ?? '';

function nameOf(person) {
  const [number, name] = page.people[person];
  return name ? `${text(name)} (${number})` : `greenlet ${number}`;
}

const siteOf = (person) => text(page.people[person][2]);

// As `greenlet 12 · crawler.rs:48`: who has no name is told by the place.
function labelFor(person) {
  const site = siteOf(person).match(/([^/]+?):(\d+)(:\d+)?$/);
  return text(page.people[person][1]) || !site ? nameOf(person) : `${nameOf(person)} · ${site[1]}:${site[2]}`;
}

function wakerName(waker) {
  if (waker >= 0) return nameOf(waker);
  if (waker <= -16) return `thread ${-16 - waker}`;
  return { [-1]: '', [-2]: 'the reactor', [-3]: 'a timer', [-4]: 'not known' }[waker] ?? '';
}

// The kinds of blocks in a lane, which are five numbers after another: start, duration, kind, and two
// that depend on it.
const RUN = 0, READY = 1, WAIT = 2, SLEEP = 3, MIXED = 4;
const STRIDE = 5;
const KINDS = {
  [RUN]: ['run', 'runs'], [READY]: ['ready', 'is ready'], [WAIT]: ['wait', 'waits'], [SLEEP]: ['sleep', 'hub sleeps'],
  [MIXED]: ['mixed', 'many short ones'],
};

// Parts of the page that need colours are drawn again when the theme changes.
const themed = [];

// ---------------------------------------------------------------- the head

function showHead() {
  document.title = `${page.program} – greenlet trace`;
  $('title').textContent = page.program;
  $('subtitle').textContent = `${time(page.duration)} of scheduling, recorded ${page.recorded}`;
  for (const [label, value, bad] of page.tiles) {
    const tile = make('div', { class: bad ? 'tile bad' : 'tile' });
    tile.append(make('b', {}, value), make('span', {}, label));
    $('tiles').append(tile);
  }
  for (const note of page.notes) $('notes').append(make('p', { class: 'note' }, note));
  if (page.lints.length) {
    $('findings').hidden = false;
    for (const lint of page.lints) $('lints').append(finding(lint));
  }
  $('thinning').textContent = page.thinning;
  $('facts').textContent = page.facts.map(([key, value]) => `${key}: ${value}`).join(' · ');
}

function finding({ kind, seen, explanation, advice, sites, people, count: number, cost }) {
  const item = make('li', {}, make('b', {}, kind), seen);
  const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1).replace(/[.]$/, '')}.`;
  const words = `${sentence(explanation)} ${sentence(advice)}`.split('`');
  // Between backticks is code.
  const parts = words.map((part, index) => (index % 2 ? make('code', {}, part) : part));
  item.append(make('p', { class: 'dim' }, ...parts));
  const line = make('p', { class: 'dim' });
  for (const person of people) {
    const button = make('button', { type: 'button', class: 'link' }, nameOf(person));
    button.addEventListener('click', () => goTo(person, 0, page.duration));
    line.append(button, ' ');
  }
  if (number > people.length) line.append(`and ${count(number - people.length)} more `);
  for (const site of sites) line.append(make('code', {}, site), ' ');
  if (cost) line.append(`· others waited about ${time(cost)}`);
  if (line.childNodes.length) item.append(line);
  return item;
}

// ---------------------------------------------------------------- utilisation

function showUtilisation() {
  const { bucket, run, sleep, ready } = page.utilisation;
  const rows = [...page.hubs.map((hub, index) => ({ hub, index })), null];
  const height = 46, gap = 8, left = 150, width = 1400;
  const svg = draw('svg', { viewBox: `0 0 ${width} ${rows.length * (height + gap) + 18}`, role: 'img', 'aria-label': 'Utilisation of hubs over time' });
  const columns = ready.length;
  const step = (width - left) / columns;
  const area = (values, top, colour, most) => {
    let path = `M${left} ${top + height}`;
    values.forEach((value, at) => {
      const y = (top + height * (1 - Math.min(1, value / most))).toFixed(1);
      path += `L${(left + at * step).toFixed(1)} ${y}L${(left + (at + 1) * step).toFixed(1)} ${y}`;
    });
    svg.append(draw('path', { d: `${path}L${left + columns * step} ${top + height}Z`, fill: colour }));
  };
  rows.forEach((row, line) => {
    const top = line * (height + gap);
    svg.append(draw('rect', { x: left, y: top, width: width - left, height, fill: colour('sleep'), rx: 3 }));
    if (row) {
      // Upwards: running; then, between greenlets, the hub itself; the rest is sleep.
      area(run[row.index].map((value, at) => Math.max(value, 1000 - sleep[row.index][at])), top, colour('other'), 1000);
      area(run[row.index], top, colour('run'), 1000);
      svg.append(draw('text', { x: 0, y: top + 18 }, row.hub.name));
      svg.append(draw('text', { x: 0, y: top + 34, class: 'dim' }, `${percent(row.hub.run / page.duration)} running`));
    } else {
      const most = Math.max(1, ...ready);
      area(ready, top, colour('ready'), most);
      svg.append(draw('text', { x: 0, y: top + 18 }, 'ready, no hub'));
      svg.append(draw('text', { x: 0, y: top + 34, class: 'dim' }, `up to ${most}`));
    }
  });
  const below = rows.length * (height + gap) + 6;
  for (let part = 0; part <= 10; part++) {
    const x = left + ((width - left) * part) / 10;
    const anchor = part === 0 ? 'start' : part === 10 ? 'end' : 'middle';
    svg.append(draw('text', { x, y: below + 8, class: 'dim', 'text-anchor': anchor }, moment((bucket * columns * part) / 10, (bucket * columns) / 100)));
  }
  $('utilisation').replaceChildren(svg);
  svg.addEventListener('mousemove', (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const at = Math.floor((x - left) / step);
    const line = Math.floor((((event.clientY - box.top) / box.height) * (rows.length * (height + gap) + 18)) / (height + gap));
    if (at < 0 || at >= columns || line >= rows.length) return hideTip();
    const from = moment(at * bucket, bucket / 10);
    const row = rows[line];
    if (row) {
      const asleep = sleep[row.index][at], running = run[row.index][at];
      tip(event, row.hub.name, [['at', from], ['running', percent(running / 1000)], ['asleep', percent(asleep / 1000)],
        ['between greenlets', percent(Math.max(0, 1000 - running - asleep) / 1000)]]);
    } else {
      tip(event, 'Ready greenlets', [['at', from], ['at the most', count(ready[at])]]);
    }
  });
  svg.addEventListener('mouseleave', hideTip);
  keys('utilisation-key', [['run', 'runs greenlets'], ['other', 'between greenlets'], ['sleep', 'sleeps'], ['ready', 'greenlets that are ready and wait for a hub']]);
}

function keys(id, entries) {
  $(id).replaceChildren(...entries.map(([name, label]) => {
    const patch = make('i');
    patch.style.background = `var(--${name})`;
    return make('span', { class: 'key' }, patch, label);
  }));
}

// ---------------------------------------------------------------- the tip under the pointer

function tip(event, title, rows) {
  const body = make('table');
  for (const [key, value] of rows) if (value !== '') body.append(make('tr', {}, make('td', {}, key), make('td', {}, value)));
  const box = $('tip');
  box.replaceChildren(make('b', {}, title), body);
  box.style.display = 'block';
  const { offsetWidth: width, offsetHeight: height } = box;
  const x = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  const y = event.clientY + 14 + height > innerHeight ? event.clientY - 14 - height : event.clientY + 14;
  box.style.left = `${Math.max(4, x)}px`;
  box.style.top = `${Math.max(4, y)}px`;
}

function hideTip() {
  $('tip').style.display = 'none';
}

// ---------------------------------------------------------------- the timeline

const timeline = {
  canvas: $('timeline'), scroller: $('scroller'), overview: $('overview'),
  from: 0, to: page.duration, lanes: [], hovered: null,
  row: 20, ruler: 24, left: 250,
};

// The lanes: hubs, then counters, then greenlets.
function arrange() {
  const wanted = $('find').value.trim().toLowerCase();
  const hubs = page.hubs.map((hub, index) => ({ hub: index, label: hub.name, blocks: page.lanes.hubs[index] }));
  let greenlets = page.lanes.greenlets.map(({ person, blocks, ...sums }) => ({ person, label: labelFor(person), blocks, sums }));
  if (wanted) greenlets = greenlets.filter((lane) => `${lane.label} ${siteOf(lane.person)}`.toLowerCase().includes(wanted));
  const order = $('order').value;
  const start = (lane) => lane.blocks[0] ?? Infinity;
  greenlets.sort((a, b) => (order === 'start' ? start(a) - start(b) : b.sums[order] - a.sums[order]));
  const counters = page.counters.map((counter) => ({ counter, label: text(counter.name) }));
  // Spans are below who they are of.
  const spans = grouped(page.spans);
  const lanesOf = (person, label) => (spans.get(person) ?? []).map(({ blocks }) => ({ spans: blocks, label }));
  const threads = [...spans.keys()].filter((person) => person < 0).flatMap((person) => lanesOf(person, `thread ${-16 - person}`));
  timeline.lanes = [...hubs, ...counters, ...threads, ...greenlets.flatMap((lane) => [lane, ...lanesOf(lane.person, '      spans')])];
  timeline.laneOf = new Map(timeline.lanes.map((lane, index) => [lane.person, index]).filter(([person]) => person !== undefined));
  timeline.firstGreenlet = hubs.length + counters.length + threads.length;
  size();
}

function grouped(lanes) {
  const groups = new Map();
  for (const lane of lanes) groups.set(lane.person, [...(groups.get(lane.person) ?? []), lane]);
  return groups;
}

function size() {
  const { canvas, scroller, overview, lanes, row, ruler } = timeline;
  const full = lanes.length * row + ruler;
  const width = scroller.clientWidth;
  const height = Math.max(row * 3, Math.min(full, 640));
  scroller.style.height = `${height + 2}px`;
  $('spacer').style.height = `${Math.max(0, full - height)}px`;
  for (const [target, tall] of [[canvas, height], [overview, 64]]) {
    target.width = Math.round(width * devicePixelRatio);
    target.height = Math.round(tall * devicePixelRatio);
    target.style.height = `${tall}px`;
  }
  timeline.width = width;
  timeline.height = height;
  redraw();
}

let queued = false;
function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    drawTimeline();
    drawOverview();
  });
}

// The first block that ends after the moment: blocks are in order and do not overlap.
function firstAfter(blocks, moment, stride = STRIDE) {
  let low = 0, high = blocks.length / stride;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (blocks[middle * stride] + blocks[middle * stride + 1] <= moment) low = middle + 1;
    else high = middle;
  }
  return low * stride;
}

function palette() {
  const names = ['run', 'ready', 'wait', 'sleep', 'mixed', 'text', 'dim', 'line', 'card', 'accent', 'shade', 'ground', 'bar', 'other', 'blocked'];
  return Object.fromEntries(names.map((name) => [name, colour(name)]));
}

function drawTimeline() {
  const { canvas, lanes, from, to, row, ruler, left, width, height, scroller } = timeline;
  const context = canvas.getContext('2d');
  const colours = timeline.colours;
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = '11px system-ui, "DejaVu Sans", sans-serif';
  context.textBaseline = 'middle';
  const scale = (width - left) / (to - from);
  const x = (moment) => left + (moment - from) * scale;
  const scrolled = scroller.scrollTop;
  const top = (lane) => ruler + lane * row - scrolled;

  const first = Math.max(0, Math.floor(scrolled / row));
  const last = Math.min(lanes.length, Math.ceil((scrolled + height) / row));
  context.save();
  context.beginPath();
  context.rect(0, ruler, width, height - ruler);
  context.clip();
  for (let index = first; index < last; index++) {
    const lane = lanes[index], y = top(index);
    if (index % 2) {
      context.fillStyle = colours.shade;
      context.fillRect(0, y, width, row);
    }
    if (index === timeline.firstGreenlet) {
      context.fillStyle = colours.line;
      context.fillRect(0, y, width, 1);
    }
    if (lane.counter) drawCounter(context, lane.counter, x, y, colours);
    else if (lane.spans) drawSpans(context, lane.spans, x, y, colours);
    else drawBlocks(context, lane, x, y, index % 2 === 1, colours);
  }
  drawWake(context, x, top, colours);
  drawMarks(context, x, colours);
  // Labels.
  context.fillStyle = colours.card;
  context.fillRect(0, ruler, left - 1, height - ruler);
  context.fillStyle = colours.line;
  context.fillRect(left - 1, 0, 1, height);
  for (let index = first; index < last; index++) {
    const lane = lanes[index];
    context.fillStyle = lane.person === undefined && !lane.spans ? colours.text : index === timeline.hovered?.lane ? colours.accent : colours.dim;
    context.fillText(fit(context, lane.label, left - 18), 10, top(index) + row / 2);
  }
  context.restore();

  // The ruler.
  context.fillStyle = colours.card;
  context.fillRect(0, 0, width, ruler);
  const step = roundStep((to - from) / Math.max(2, (width - left) / 110));
  context.fillStyle = colours.dim;
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    context.fillRect(Math.round(x(at)), ruler - 6, 1, 6);
    const label = moment(at, step);
    if (x(at) + context.measureText(label).width + 4 < width) context.fillText(label, x(at) + 4, ruler / 2 - 1);
  }
  context.fillStyle = colours.line;
  context.fillRect(0, ruler - 1, width, 1);
  $('range').textContent = `${time(to - from)} from ${moment(from, (to - from) / 100)}`;
}

function drawBlocks(context, lane, x, y, shaded, colours) {
  const { from, to, left, row } = timeline;
  const { blocks } = lane;
  const fills = [colours.run, colours.ready, colours.wait, colours.sleep, colours.mixed];
  // Less than a pixel: the kind that comes first here wins, so that a run is never hidden.
  const rank = [0, 1, 3, 4, 2];
  let edge = -1, edgeRank = 9;
  for (let at = firstAfter(blocks, from); at < blocks.length && blocks[at] < to; at += STRIDE) {
    const begin = Math.max(left, x(blocks[at]));
    const end = Math.min(timeline.width, x(blocks[at] + blocks[at + 1]));
    const kind = blocks[at + 2];
    const pixel = Math.floor(begin);
    if (end - begin < 1) {
      if (pixel === edge && rank[kind] >= edgeRank) continue;
      edge = pixel;
      edgeRank = rank[kind];
    } else {
      edgeRank = 9;
    }
    const low = kind === WAIT || kind === SLEEP;
    context.fillStyle = fills[kind];
    const inset = low ? 7 : 3;
    context.fillRect(begin, y + inset, Math.max(1, end - begin - (end - begin > 3 ? 0.5 : 0)), row - 2 * inset);
    if (end - begin > 36) {
      const label = labelOf(lane, blocks, at);
      if (label) {
        context.fillStyle = low ? colours.text : '#fff';
        if (low) {
          // On the thin bar of a wait the label has a ground of its own.
          const shown = fit(context, label, end - begin - 8);
          for (const ground of shaded ? [colours.card, colours.shade] : [colours.card]) {
            context.fillStyle = ground;
            context.fillRect(begin + 4, y + 4, context.measureText(shown).width + 6, row - 8);
          }
          context.fillStyle = colours.dim;
          context.fillText(shown, begin + 7, y + row / 2);
        } else {
          context.fillText(fit(context, label, end - begin - 8), begin + 4, y + row / 2);
        }
      }
    }
  }
}

function labelOf(lane, blocks, at) {
  const kind = blocks[at + 2], first = blocks[at + 3];
  switch (kind) {
    case RUN: return lane.hub === undefined ? page.hubs[first]?.name ?? '' : nameOf(first);
    case READY: return 'ready';
    case WAIT: return page.reasons[first];
    case MIXED: return `${count(first)} ×`;
    default: return '';
  }
}

function drawCounter(context, counter, x, y, colours) {
  const { row, width, left } = timeline;
  const { points } = counter;
  context.beginPath();
  for (let at = 0; at < points.length; at += 2) {
    const level = y + row - 3 - ((points[at + 1] - counter.least) / (counter.most - counter.least || 1)) * (row - 6);
    const end = at + 2 < points.length ? points[at + 2] : page.duration;
    context.moveTo(Math.max(left, x(points[at])), level);
    context.lineTo(Math.min(width, x(end)), level);
    if (at + 3 < points.length) {
      const next = y + row - 3 - ((points[at + 3] - counter.least) / (counter.most - counter.least || 1)) * (row - 6);
      context.lineTo(Math.min(width, x(end)), next);
    }
  }
  context.strokeStyle = colours.bar;
  context.stroke();
}

function drawSpans(context, spans, x, y, colours) {
  const { from, to, left, row, width } = timeline;
  for (let at = 0; at < spans.length; at += 3) {
    if (spans[at] > to || spans[at] + spans[at + 1] < from) continue;
    const begin = Math.max(left, x(spans[at])), end = Math.min(width, x(spans[at] + spans[at + 1]));
    context.fillStyle = colours.other;
    context.fillRect(begin, y + 3, Math.max(1, end - begin - 0.5), row - 6);
    if (end - begin > 30) {
      context.fillStyle = '#fff';
      context.fillText(fit(context, text(spans[at + 2]), end - begin - 8), begin + 4, y + row / 2);
    }
  }
}

function drawMarks(context, x, colours) {
  const { from, to, width, height, ruler } = timeline;
  let edge = -Infinity;
  for (const [at, what] of page.marks) {
    if (at < from || at > to) continue;
    const place = Math.round(x(at)), label = fit(context, text(what), 180), wide = context.measureText(label).width + 8;
    context.fillStyle = colours.blocked;
    context.fillRect(place, ruler, 1, height - ruler);
    if (place < edge) continue;
    // To the left if there is no room on the right.
    const left = place + wide > width ? place - wide : place;
    edge = left + wide;
    context.fillRect(left, height - 16, wide, 16);
    context.fillStyle = colours.card;
    context.fillText(label, left + 4, height - 8);
  }
}

// From who woke it to what is under the pointer.
function drawWake(context, x, top, colours) {
  const { hovered, lanes, row, laneOf } = timeline;
  if (!hovered || hovered.at === undefined || !lanes[hovered.lane]?.blocks) return;
  const { blocks, person } = lanes[hovered.lane];
  context.strokeStyle = colours.accent;
  context.fillStyle = colours.accent;
  context.lineWidth = 1.5;
  const y = top(hovered.lane);
  context.strokeRect(x(blocks[hovered.at]), y + 1.5, Math.max(2, blocks[hovered.at + 1] * (x(1) - x(0))), row - 3);
  if (person === undefined || blocks[hovered.at + 2] !== READY || blocks[hovered.at + 3] < 0) return;
  const other = laneOf.get(blocks[hovered.at + 3]);
  if (other === undefined) return;
  const at = x(blocks[hovered.at]), begin = top(other) + row / 2, end = y + (other < hovered.lane ? 2 : row - 2);
  context.beginPath();
  context.moveTo(at, begin);
  context.lineTo(at, end);
  context.stroke();
  context.beginPath();
  context.arc(at, begin, 3.5, 0, 7);
  context.fill();
  const back = other < hovered.lane ? -7 : 7;
  context.beginPath();
  context.moveTo(at, end);
  context.lineTo(at - 4, end + back);
  context.lineTo(at + 4, end + back);
  context.fill();
}

function fit(context, label, width) {
  if (context.measureText(label).width <= width) return label;
  let low = 0, high = label.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${label.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low > 0 ? `${label.slice(0, low)}…` : '';
}

function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= least) * power);
}

function drawOverview() {
  const { overview, width, from, to, colours } = timeline;
  const context = overview.getContext('2d');
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.fillStyle = colours.sleep;
  context.fillRect(0, 0, width, 64);
  const { run, ready } = page.utilisation;
  const columns = ready.length, most = Math.max(1, ...ready);
  for (let at = 0; at < columns; at++) {
    const busy = run.reduce((sum, hub) => sum + hub[at], 0) / (1000 * Math.max(1, run.length));
    const x = (at * width) / columns, wide = width / columns + 0.5;
    context.fillStyle = colours.run;
    context.fillRect(x, 64 * (1 - busy), wide, 64 * busy);
    context.fillStyle = colours.ready;
    context.fillRect(x, 0, wide, (14 * ready[at]) / most);
  }
  const begin = (from / page.duration) * width, end = (to / page.duration) * width;
  context.globalAlpha = 0.55;
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, begin, 64);
  context.fillRect(end, 0, width - end, 64);
  context.globalAlpha = 1;
  context.fillStyle = colours.accent;
  context.fillRect(begin - 1, 0, 2, 64);
  context.fillRect(end - 1, 0, 2, 64);
}

// Moving about.

function show(from, to) {
  const least = Math.min(page.duration, 200);
  let span = Math.max(least, Math.min(page.duration, to - from));
  from = Math.max(0, Math.min(page.duration - span, from));
  timeline.from = from;
  timeline.to = from + span;
  redraw();
}

function zoom(factor, about = (timeline.from + timeline.to) / 2) {
  show(about - (about - timeline.from) * factor, about + (timeline.to - about) * factor);
}

function pan(part) {
  const by = (timeline.to - timeline.from) * part;
  show(timeline.from + by, timeline.to + by);
}

function momentAt(clientX) {
  const box = timeline.canvas.getBoundingClientRect();
  const part = (clientX - box.left - timeline.left) / (timeline.width - timeline.left);
  return timeline.from + part * (timeline.to - timeline.from);
}

function whatIsAt(event) {
  const { canvas, lanes, row, ruler, left, scroller } = timeline;
  const box = canvas.getBoundingClientRect();
  const y = event.clientY - box.top;
  const lane = Math.floor((y - ruler + scroller.scrollTop) / row);
  if (y < ruler || lane >= lanes.length) return null;
  if (event.clientX - box.left < left) return { lane };
  const moment = momentAt(event.clientX);
  const blocks = lanes[lane].blocks ?? lanes[lane].spans;
  if (!blocks) return { lane, moment };
  // A little beside counts, as blocks may be thinner than what a hand can hit.
  const near = ((timeline.to - timeline.from) / (timeline.width - left)) * 2;
  const stride = lanes[lane].spans ? 3 : STRIDE;
  let at = firstAfter(blocks, moment - near, stride);
  while (at + stride < blocks.length && blocks[at] + blocks[at + 1] < moment && blocks[at + stride] <= moment + near) at += stride;
  return at < blocks.length && blocks[at] <= moment + near ? { lane, at, moment } : { lane, moment };
}

function explain(event, found) {
  const lane = timeline.lanes[found.lane];
  if (found.at === undefined) {
    if (lane.counter && found.moment !== undefined) {
      const { points } = lane.counter;
      let value = '';
      for (let at = 0; at < points.length && points[at] <= found.moment; at += 2) value = points[at + 1];
      tip(event, lane.label, [['value', String(value)], ['at', moment(found.moment, (timeline.to - timeline.from) / 1000)]]);
    } else if (lane.person !== undefined) {
      const { run, ready, wait, switches } = lane.sums;
      tip(event, lane.label, [['spawned at', siteOf(lane.person)], ['running', time(run)], ['ready', time(ready)], ['waiting', time(wait)], ['runs', count(switches)]]);
    } else if (lane.hub !== undefined && found.moment === undefined) {
      const hub = page.hubs[lane.hub];
      tip(event, hub.name, [['thread', String(hub.thread)], ['running', `${time(hub.run)} (${percent(hub.run / page.duration)})`], ['asleep', time(hub.sleep)], ['runs', count(hub.switches)]]);
    } else {
      hideTip();
    }
    return;
  }
  if (lane.spans) {
    return tip(event, text(lane.spans[found.at + 2]), [['lasts', time(lane.spans[found.at + 1])], ['from', moment(lane.spans[found.at], 1)]]);
  }
  const [start, duration, kind, first, second] = lane.blocks.slice(found.at, found.at + STRIDE);
  const rows = [['lasts', time(duration)], ['from', moment(start, Math.min(1000, duration || 1))]];
  const title = lane.person === undefined ? lane.label : nameOf(lane.person);
  if (kind === RUN && lane.person === undefined) {
    rows.push(['spawned at', siteOf(first)], ['then', text(second)]);
    return tip(event, `${title} runs ${nameOf(first)}`, rows);
  }
  if (kind === RUN) rows.push(['on', page.hubs[first]?.name ?? ''], ['then', text(second)]);
  if (kind === READY) rows.push(['woken by', wakerName(first)], ['spawned at', siteOf(lane.person)]);
  if (kind === WAIT) rows.push(['waits for', page.reasons[first]], ['object', text(second)]);
  if (kind === MIXED) rows.push(['blocks', count(first)], ['running', percent(second / 1000)]);
  return tip(event, lane.person === undefined && kind === SLEEP ? `${title} sleeps` : `${title} ${KINDS[kind][1]}`, rows);
}

function listen() {
  const { canvas, overview, scroller } = timeline;
  let held = null;
  canvas.addEventListener('mousedown', (event) => {
    held = { x: event.clientX, y: event.clientY, from: timeline.from, to: timeline.to, scrolled: scroller.scrollTop };
    canvas.classList.add('held');
    canvas.focus({ preventScroll: true });
    event.preventDefault();
  });
  addEventListener('mouseup', () => {
    held = null;
    canvas.classList.remove('held');
  });
  addEventListener('mousemove', (event) => {
    if (!held) return;
    const by = ((held.x - event.clientX) / (timeline.width - timeline.left)) * (held.to - held.from);
    scroller.scrollTop = held.scrolled + held.y - event.clientY;
    show(held.from + by, held.to + by);
  });
  canvas.addEventListener('mousemove', (event) => {
    if (held) return hideTip();
    const found = whatIsAt(event);
    timeline.hovered = found;
    if (found) explain(event, found);
    else hideTip();
    redraw();
  });
  canvas.addEventListener('mouseleave', () => {
    timeline.hovered = null;
    hideTip();
    redraw();
  });
  canvas.addEventListener('wheel', (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(Math.max(-200, Math.min(200, event.deltaY)) * 0.004), momentAt(event.clientX));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      pan((event.deltaX || event.deltaY) / timeline.width);
    }
  }, { passive: false });
  canvas.addEventListener('dblclick', (event) => zoom(0.25, momentAt(event.clientX)));
  canvas.addEventListener('keydown', (event) => {
    const action = {
      w: () => zoom(0.6), s: () => zoom(1 / 0.6), a: () => pan(-0.25), d: () => pan(0.25),
      ArrowLeft: () => pan(-0.25), ArrowRight: () => pan(0.25), '+': () => zoom(0.6), '-': () => zoom(1 / 0.6), 0: () => show(0, page.duration),
    }[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
  scroller.addEventListener('scroll', redraw);
  $('in').addEventListener('click', () => zoom(0.5));
  $('out').addEventListener('click', () => zoom(2));
  $('all').addEventListener('click', () => show(0, page.duration));
  $('find').addEventListener('input', arrange);
  $('order').addEventListener('change', arrange);

  // A stroke over the overview chooses what is shown; a click goes there.
  let stroke = null;
  const at = (event) => {
    const box = overview.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * page.duration;
  };
  overview.addEventListener('mousedown', (event) => {
    stroke = at(event);
    event.preventDefault();
  });
  addEventListener('mousemove', (event) => {
    if (stroke === null) return;
    const end = at(event);
    if (Math.abs(end - stroke) > page.duration / 500) show(Math.min(stroke, end), Math.max(stroke, end));
  });
  addEventListener('mouseup', (event) => {
    if (stroke === null) return;
    if (Math.abs(at(event) - stroke) <= page.duration / 500) {
      const half = (timeline.to - timeline.from) / 2;
      show(stroke - half, stroke + half);
    }
    stroke = null;
  });
  addEventListener('resize', size);
}

// Shows a greenlet around a moment.
function goTo(person, start, duration) {
  if (timeline.laneOf.get(person) === undefined) {
    $('find').value = '';
    arrange();
  }
  const margin = Math.max(duration * 0.3, 2000);
  show(start - margin, start + duration + margin);
  const lane = timeline.laneOf.get(person);
  if (lane !== undefined) timeline.scroller.scrollTop = Math.max(0, (lane - 6) * timeline.row);
  $('overview').scrollIntoView({ block: 'start', behavior: 'smooth' });
}

// ---------------------------------------------------------------- tabs

function tabs(id, titles, choose) {
  const buttons = titles.map((title, index) => {
    const button = make('button', { type: 'button', role: 'tab', 'aria-selected': 'false' }, title);
    button.addEventListener('click', () => select(index));
    return button;
  });
  const select = (index) => {
    buttons.forEach((button, other) => button.setAttribute('aria-selected', String(other === index)));
    choose(index);
  };
  $(id).replaceChildren(...buttons);
  if (buttons.length) select(0);
}

// ---------------------------------------------------------------- histograms

function showHistogram(histogram) {
  if (!histogram.total) return $('histogram').replaceChildren(make('p', { class: 'empty' }, 'There is nothing of this kind in the trace.'));
  const width = 620, height = 250, left = 46, below = 40, right = 10, above = 22;
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': histogram.title });
  const low = Math.log10(Math.max(1, histogram.bins[0][0])), high = Math.log10(histogram.bins.at(-1)[1]);
  const x = (value) => left + ((Math.log10(Math.max(1, value)) - low) / (high - low || 1)) * (width - left - right);
  const most = Math.max(...histogram.bins.map(([, , number]) => number));
  const levels = Math.max(1, Math.log10(most));
  const y = (number) => height - below - ((Math.log10(number) + 0.3) / (levels + 0.3)) * (height - below - above);
  for (let power = 0; power <= levels + 1e-9; power++) {
    svg.append(draw('line', { x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power), stroke: colour('line') }));
    svg.append(draw('text', { x: left - 6, y: y(10 ** power) + 4, class: 'dim', 'text-anchor': 'end' }, power < 3 ? String(10 ** power) : `10${'⁰¹²³⁴⁵⁶⁷⁸⁹'[power] ?? ''}`));
  }
  for (const [from, to, number] of histogram.bins) {
    if (!number) continue;
    const bar = draw('rect', { x: x(from) + 0.5, y: y(number), width: Math.max(1, x(to) - x(from) - 1), height: height - below - y(number), fill: colour('bar'), rx: 1.5 });
    bar.addEventListener('mousemove', (event) => tip(event, `${count(number)} of ${count(histogram.total)}`, [['from', time(from)], ['to', time(to)], ['part', percent(number / histogram.total)]]));
    bar.addEventListener('mouseleave', hideTip);
    svg.append(bar);
  }
  for (let power = Math.ceil(low); power <= high; power++) {
    svg.append(draw('text', { x: x(10 ** power), y: height - below + 16, class: 'dim', 'text-anchor': 'middle' }, time(10 ** power).replace('.00', '').replace('.0', '')));
  }
  let edge = -Infinity;
  for (const [name, value] of histogram.percentiles) {
    if (!['p50', 'p99', 'p99.9', 'most'].includes(name)) continue;
    const at = x(value);
    svg.append(draw('line', { x1: at, x2: at, y1: above - 4, y2: height - below, stroke: colour('warn'), 'stroke-dasharray': '3 3' }));
    if (at - edge < 34) continue;
    edge = at;
    svg.append(draw('text', { x: Math.min(at, width - 20), y: above - 8, 'text-anchor': 'middle' }, name));
  }
  svg.append(draw('line', { x1: left, x2: width - right, y1: height - below, y2: height - below, stroke: colour('dim') }));
  const table = make('table', {}, make('tr', {}, ...histogram.percentiles.map(([name]) => make('th', { class: 'number' }, name))),
    make('tr', {}, ...histogram.percentiles.map(([, value]) => make('td', { class: 'number' }, time(value)))));
  $('histogram').replaceChildren(svg, make('div', { class: 'scroll' }, table), make('p', { class: 'about' }, `${count(histogram.total)} in all. ${histogram.about}`));
}

let shownHistogram = 0;
function showHistograms() {
  tabs('histogram-tabs', page.histograms.map(({ title }) => title), (index) => {
    shownHistogram = index;
    showHistogram(page.histograms[index]);
  });
}

// ---------------------------------------------------------------- tables

function showWaits() {
  if (!page.waits.length) return $('waits').replaceChildren(make('p', { class: 'empty' }, 'Nobody waits in this trace.'));
  const table = make('table', {}, make('tr', {}, ...['for', 'together', 'waits', 'p50', 'p99', 'longest'].map((title, at) => make('th', at ? { class: 'number' } : {}, title))));
  const most = page.waits[0].total || 1;
  for (const wait of page.waits) {
    const meter = make('i', { class: 'meter' });
    meter.style.width = `${(100 * wait.total) / most}%`;
    table.append(make('tr', {}, make('td', {}, page.reasons[wait.reason], meter),
      ...[time(wait.total), count(wait.count), time(wait.p50), time(wait.p99), time(wait.most)].map((value) => make('td', { class: 'number' }, value))));
    for (const [object, total, number] of wait.objects) {
      table.append(make('tr', { class: 'inner' }, make('td', {}, text(object)), make('td', { class: 'number' }, time(total)), make('td', { class: 'number' }, count(number)),
        make('td'), make('td'), make('td')));
    }
  }
  $('waits').replaceChildren(table);
}

function showOffenders() {
  tabs('offender-tabs', page.offenders.map(({ title }) => title), (index) => {
    const { rows, figure } = page.offenders[index];
    if (!rows.length) return $('offenders').replaceChildren(make('p', { class: 'empty' }, 'There is nothing of this kind in the trace.'));
    const table = make('table', {}, make('tr', {}, make('th', { class: 'number' }, figure), make('th', {}, 'greenlet'), make('th', {}, 'spawned at'), make('th', {}, 'what'), make('th', { class: 'number' }, 'when')));
    for (const { person, value, start, duration, what } of rows) {
      const line = make('tr', { class: 'go', tabindex: 0 }, make('td', { class: 'number' }, figure === 'runs' ? count(value) : time(value)), make('td', {}, nameOf(person)),
        make('td', { class: 'code' }, siteOf(person)), make('td', {}, text(what)), make('td', { class: 'number' }, moment(start, 1000)));
      const go = () => goTo(person, start, duration);
      line.addEventListener('click', go);
      line.addEventListener('keydown', (event) => event.key === 'Enter' && go());
      table.append(line);
    }
    $('offenders').replaceChildren(table);
  });
}

// Ribbons from those who wake to those who are woken, as wide as they are many.
function showWakes() {
  const { edges, left: sources, right: targets, more } = page.wakes;
  if (!edges.length) return $('wakes').replaceChildren(make('p', { class: 'empty' }, 'Nobody is woken in this trace.'));
  const width = 1400, middle = [430, 970], gap = 8, least = 13;
  const total = edges.reduce((sum, [, , number]) => sum + number, 0);
  const rows = Math.max(sources.length, targets.length);
  const height = Math.max(120, rows * 30);
  const place = (list, side) => {
    const sums = list.map((_, at) => edges.filter((edge) => edge[side] === at).reduce((sum, edge) => sum + edge[2], 0));
    const free = height - gap * (list.length - 1) - least * list.length;
    let y = 0;
    return list.map((name, at) => {
      const tall = least + free * (sums[at] / total);
      const node = { name, sum: sums[at], y, tall, used: 0 };
      y += tall + gap;
      return node;
    });
  };
  const from = place(sources, 0), to = place(targets, 1);
  const svg = draw('svg', { viewBox: `0 0 ${width} ${height + 4}`, role: 'img', 'aria-label': 'Who wakes whom' });
  const tints = [colour('run'), colour('bar'), colour('ready'), colour('other'), colour('mixed'), colour('wait')];
  for (const [source, target, number] of edges) {
    const a = from[source], b = to[target];
    const wideA = (a.tall * number) / a.sum, wideB = (b.tall * number) / b.sum;
    const y0 = a.y + a.used, y1 = b.y + b.used, bend = (middle[0] + middle[1]) / 2;
    a.used += wideA;
    b.used += wideB;
    const ribbon = draw('path', {
      d: `M${middle[0]} ${y0}C${bend} ${y0} ${bend} ${y1} ${middle[1]} ${y1}V${y1 + wideB}C${bend} ${y1 + wideB} ${bend} ${y0 + wideA} ${middle[0]} ${y0 + wideA}Z`,
      fill: tints[source % tints.length], opacity: 0.45,
    });
    ribbon.addEventListener('mousemove', (event) => {
      ribbon.setAttribute('opacity', 0.8);
      tip(event, `${count(number)} wakes`, [['from', text(a.name)], ['to', text(b.name)], ['part', percent(number / total)]]);
    });
    ribbon.addEventListener('mouseleave', () => {
      ribbon.setAttribute('opacity', 0.45);
      hideTip();
    });
    svg.append(ribbon);
  }
  const shorten = (name) => (name.length > 52 ? `…${name.slice(-51)}` : name);
  const label = (node, at, x, anchor, tint) => {
    svg.append(draw('rect', { x: anchor === 'end' ? x - 6 : x, y: node.y, width: 6, height: node.tall, fill: tint, rx: 2 }));
    const words = draw('text', { x: anchor === 'end' ? x - 14 : x + 14, y: node.y + node.tall / 2 + 4, 'text-anchor': anchor }, shorten(text(node.name)));
    const number = draw('tspan', { class: 'dim', dx: 8 }, count(node.sum));
    words.append(number);
    svg.append(words);
  };
  from.forEach((node, at) => label(node, at, middle[0], 'end', tints[at % tints.length]));
  to.forEach((node, at) => label(node, at, middle[1], 'start', colour('dim')));
  $('wakes').replaceChildren(svg);
  if (more) $('wakes').append(make('p', { class: 'about' }, more));
}

// ---------------------------------------------------------------- all of it

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $('theme').textContent = theme === 'dark' ? 'Light' : 'Dark';
  timeline.colours = palette();
  themed.forEach((draw) => draw());
}

const prefersDark = matchMedia('(prefers-color-scheme: dark)');
setTheme(prefersDark.matches ? 'dark' : 'light');
prefersDark.addEventListener('change', () => setTheme(prefersDark.matches ? 'dark' : 'light'));
$('theme').addEventListener('click', () => setTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));

showHead();
keys('timeline-key', [['run', 'runs'], ['ready', 'ready, waits for a hub'], ['wait', 'waits'], ['sleep', 'hub sleeps'], ['mixed', 'many short ones']]
  .concat(page.marks.length ? [['blocked', 'marks']] : []));
showUtilisation();
showHistograms();
showWaits();
showOffenders();
showWakes();
listen();
arrange();
themed.push(showUtilisation, () => showHistogram(page.histograms[shownHistogram]), showWakes, redraw);
