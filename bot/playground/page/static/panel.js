// Beside the workspace: what can go wrong around the bot, and what goes between Slack and the app.

import { fill, h } from "./tree.js";

/** The switches. turn(id, on): asks for it. */
export function world(element, now, turn) {
  if (!now) return;
  fill(element,
    h("p", { class: "fact" }, h("b", null, "Customers "), now.payments.total ? `${now.payments.failed} of ${now.payments.total} payments fail` : "nobody pays"),
    h("p", { class: "fact" }, h("b", null, "The bot "), now.bot, now.connections ? ", hears Slack" : ", hears nothing"),
    now.busy && h("p", { class: "fact", role: "status" }, `At it: ${now.busy} …`),
    now.said && h("p", { class: "complaint", role: "alert" }, now.said),
    h("ul", { class: "switches" }, now.switches.map((s) => h("li", null, s.once
      ? h("button", { type: "button", class: "button", disabled: Boolean(now.busy), "data-key": `w-${s.id}`, onclick: () => turn(s.id, true) }, s.title)
      : h("button", { type: "button", role: "switch", class: "switch", "aria-checked": String(s.on), disabled: Boolean(now.busy), "data-key": `w-${s.id}`, onclick: () => turn(s.id, !s.on) }, h("span", { class: "knob", "aria-hidden": "true" }), s.title)))));
}

export class Inspector {
  /** list: an element for the lines; load: async (after) -> {lines}. */
  constructor(list, load) {
    Object.assign(this, { list, load, after: 0, timer: null });
  }

  start() {
    this.timer ??= setInterval(() => this.look(), 1000);
    this.look();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
  }

  async look() {
    const { lines } = await this.load(this.after).catch(() => ({ lines: [] }));
    if (!lines.length) return;
    this.after = lines.at(-1).n;
    const low = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
    const made = document.createElement("ol");
    fill(made, lines.map(row));
    this.list.append(...made.children);
    while (this.list.children.length > 300) this.list.firstElementChild.remove();
    if (low) this.list.scrollTop = this.list.scrollHeight;
  }
}

function row(line) {
  const out = line.way === "to Slack";
  return h("li", { class: line.error ? "bad" : "" }, h("details", null,
    h("summary", null, h("time", null, new Date(line.at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })), h("span", { class: "way", title: line.way }, out ? "→ Slack" : "← Slack"), h("b", null, line.what), line.error && h("em", null, line.error)),
    h("pre", null, JSON.stringify(line.body, null, 2))));
}
