// Where a person writes: Enter sends, Shift+Enter breaks the line, `/` offers commands and `@` people.

import { fill, h } from "./tree.js";

/** What is offered for what was typed up to the caret: {from, entries: [{insert, label, note}]}. Pure. */
export function offers(text, app, people) {
  const command = text.match(/^\/(\S*)$/);
  if (command) {
    const found = app.commands.filter((c) => c.name.startsWith(`/${command[1]}`));
    return { from: 0, entries: found.map((c) => ({ insert: `${c.name} `, label: c.name, note: `${app.name}${c.hint ? ` · ${c.hint}` : ""}` })) };
  }
  const person = text.match(/(^|\s)@([a-z0-9-]*)$/);
  if (!person) return { from: 0, entries: [] };
  const found = people.filter((p) => p.name.startsWith(person[2])).slice(0, 8);
  return { from: text.length - person[2].length - 1, entries: found.map((p) => ({ insert: `@${p.name} `, label: `@${p.name}`, note: p.real_name })) };
}

/** What a line asks for: {verb, args}; null for an empty line. Pure. */
export function meant(line, app) {
  const text = line.trim();
  if (!text) return null;
  const [word, rest] = text.match(/^(\S+)\s*([\s\S]*)$/).slice(1);
  if (word.startsWith("/") && !word.startsWith("//") && /^\/[a-z]/.test(word)) return { verb: "slash", args: { command: word, text: rest } };
  return { verb: "say", args: { text } };
}

export class Composer {
  /** form: with a textarea, a listbox and a button; about: () -> {app, people}; send: async ({verb, args}) -> whether it was taken. */
  constructor(form, about, send) {
    Object.assign(this, { form, about, send, found: { from: 0, entries: [] }, at: 0, sent: [] });
    this.area = form.querySelector("textarea");
    this.list = form.querySelector("[role=listbox]");
    this.area.addEventListener("input", () => this.look());
    this.area.addEventListener("keydown", (event) => this.press(event));
    this.area.addEventListener("blur", () => setTimeout(() => this.offer([]), 150));
    form.addEventListener("submit", (event) => (event.preventDefault(), this.go()));
  }

  look() {
    this.area.style.height = "auto";
    this.area.style.height = `${Math.min(this.area.scrollHeight, 200)}px`;
    const { app, people } = this.about();
    this.found = offers(this.area.value.slice(0, this.area.selectionStart), app, people);
    this.at = 0;
    this.offer(this.found.entries);
  }

  offer(entries) {
    this.list.hidden = !entries.length;
    fill(this.list, entries.map((e, i) => h("li", { role: "option", id: `${this.list.id}-${i}`, "aria-selected": String(i === this.at), onpointerdown: (event) => (event.preventDefault(), this.take(i)) }, h("b", null, e.label), h("span", null, e.note))));
    if (entries.length) this.area.setAttribute("aria-activedescendant", `${this.list.id}-${this.at}`);
    else this.area.removeAttribute("aria-activedescendant");
  }

  take(i) {
    const caret = this.area.selectionStart;
    this.area.setRangeText(this.found.entries[i].insert, this.found.from, caret, "end");
    this.offer([]);
    this.area.focus();
  }

  press(event) {
    const offered = this.list.hidden ? 0 : this.found.entries.length;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (offered && step) this.at = (this.at + step + offered) % offered, this.offer(this.found.entries);
    else if (offered && (event.key === "Tab" || (event.key === "Enter" && this.area.value !== this.found.entries[this.at].insert.trim()))) this.take(this.at);
    else if (offered && event.key === "Escape") this.offer([]);
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.go();
    else if (event.key === "ArrowUp" && !this.area.value && this.sent.length) this.area.value = this.sent.at(-1);
    else return;
    event.preventDefault();
  }

  async go() {
    const line = this.area.value;
    const what = meant(line, this.about().app);
    if (!what) return;
    this.area.value = "";
    this.look();
    if (await this.send(what)) this.sent.push(line);
    else if (!this.area.value) this.area.value = line;
  }
}
