// One message as a tree: who, when, what, files, reactions, and the way into its thread.

import { h, icon } from "./tree.js";
import { blocks } from "./blocks.js";
import { mrkdwn } from "./mrkdwn.js";
import { emoji } from "./emoji.js";

const HUES = [265, 12, 152, 205, 325, 40, 180, 95];

/** The square with somebody's initials. */
export function face(user) {
  const app = user?.kind === "app";
  const initials = (user?.real_name ?? "?").split(/\s+/).map((part) => part[0]).slice(0, 2).join("");
  const hue = HUES[[...(user?.id ?? "")].reduce((sum, c) => sum + c.charCodeAt(0), 0) % HUES.length];
  return h("span", { class: `face hue${hue} ${app ? "app" : ""}`, "aria-hidden": "true" }, app ? "↩" : initials);
}

export const clock = (ts) => new Date(Number(ts) * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** What a message says. */
export function body(m, ctx) {
  const said = m.blocks?.length && m.subtype !== "file_share" ? blocks(m.blocks, ctx.of(m)) : m.text ? [h("div", { class: "text" }, mrkdwn(m.text, ctx.names))] : [];
  const attached = (m.attachments ?? []).map((a) => h("div", { class: "attachment" }, a.blocks ? blocks(a.blocks, ctx.of(m)) : mrkdwn(a.text ?? "", ctx.names)));
  return [...said, ...attached, ...(m.files ?? []).map((f) => file(f, ctx))];
}

function file(f, ctx) {
  const at = ctx.file(f.url_private);
  if (f.mimetype?.startsWith("image/")) return h("figure", { class: "file" }, h("figcaption", null, f.title), h("a", { href: at, target: "_blank" }, h("img", { src: at, alt: f.title, loading: "lazy" })));
  return h("a", { class: "file card", href: at, download: f.name }, h("span", { class: "kind", "aria-hidden": "true" }, f.pretty_type.slice(0, 4)), h("span", null, h("b", null, f.title), h("small", null, `${f.pretty_type} · ${size(f.size)}`)));
}

const size = (bytes) => (bytes < 1000 ? `${bytes} B` : bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/**
 * A message. ctx: {state, names, file, of(message) -> what its blocks are drawn with, does: {thread, tools, react}};
 * how: {close: stands under the last one of the same person, thread: how many answers, inThread}.
 */
export function message(m, ctx, how) {
  const user = ctx.state.users.get(m.user);
  const name = user?.kind === "app" ? user.real_name : user?.name ?? m.user;
  const head = h("div", { class: "head" }, h("b", { class: "who" }, name), user?.kind === "app" && h("span", { class: "badge" }, "APP"), user?.kind === "guest" && h("span", { class: "badge" }, "GUEST"),
    h("time", { datetime: new Date(Number(m.ts) * 1000).toISOString(), title: new Date(Number(m.ts) * 1000).toLocaleString() }, clock(m.ts)));
  const alone = m.only_for && h("p", { class: "alone" }, icon("eye"), "Only visible to you");
  const thread = how.answers?.length ? threadBar(m, how.answers, ctx) : null;
  const tools = !m.only_for && h("div", { class: "tools", role: "toolbar", "aria-label": "Message actions" },
    ["eyes", "white_check_mark"].map((e) => tool(emoji(e), `React with ${e.replaceAll("_", " ")}`, () => ctx.does.react(m, e), `${m.ts}-${e}`)),
    !how.inThread && tool(icon("reply"), "Reply in thread", () => ctx.does.thread(m), `${m.ts}-reply`),
    ctx.state.app.shortcuts?.length > 0 && tool(icon("dots"), "More message actions", (event) => ctx.does.tools(m, event), `${m.ts}-more`));
  return h("article", { class: ["message", how.close && "close", m.only_for && "whisper"].filter(Boolean).join(" "), "data-ts": m.ts, "aria-label": `${name}, ${clock(m.ts)}` },
    how.close ? h("time", { class: "aside" }, clock(m.ts).replace(/\s.*/, "")) : face(user),
    h("div", { class: "body" }, alone, !how.close && head, body(m, ctx), m.edited && h("span", { class: "edited" }, "(edited)"), reactions(m, ctx), thread), tools);
}

const tool = (sign, label, onclick, key) => h("button", { type: "button", "aria-label": label, title: label, onclick, "data-key": key }, sign);

function reactions(m, ctx) {
  if (!m.reactions?.length) return null;
  return h("div", { class: "reactions" }, m.reactions.map((r) => {
    const mine = r.users.includes(ctx.state.me);
    return h("button", { type: "button", class: mine ? "mine" : "", "aria-pressed": String(mine), "aria-label": `${r.name}, ${r.count}`, "data-key": `${m.ts}-r-${r.name}`, onclick: () => ctx.does.react(m, r.name, !mine) }, `${emoji(r.name) ?? `:${r.name}:`} ${r.count}`);
  }));
}

function threadBar(m, answers, ctx) {
  const who = [...new Set(answers.map((a) => a.user))].slice(0, 3);
  const count = `${answers.length} ${answers.length === 1 ? "reply" : "replies"}`;
  return h("button", { type: "button", class: "thread-bar", "data-key": `${m.ts}-thread`, onclick: () => ctx.does.thread(m) }, who.map((id) => face(ctx.state.users.get(id))), h("b", null, count), h("span", null, `Last reply ${clock(answers.at(-1).ts)}`), h("span", { class: "view" }, "View thread ›"));
}

/** The line between two days. */
export const day = (ts) => {
  const at = new Date(Number(ts) * 1000);
  const said = at.toDateString() === new Date().toDateString() ? "Today" : at.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
  return h("div", { class: "day", role: "separator", "aria-label": said }, h("span", null, said));
};
