// Block Kit as a tree: https://docs.slack.dev/reference/block-kit/blocks
//
// What people do with it goes to `does`: press(element, block), pick(element, block, value), menu(element, block, event).

import { h } from "./tree.js";
import { emoji } from "./emoji.js";
import { link, mention, plain, textObject, time } from "./mrkdwn.js";
import { field } from "./inputs.js";

const STATES = { pending: "to do", in_progress: "under way", complete: "done", error: "failed" };
const SIGNS = { pending: "", in_progress: "", complete: "✓", error: "!" };

/** Blocks -> trees. ctx: {names, does, file: url -> address here, typed: (block, element) -> value, errors}. */
export const blocks = (found, ctx) => found.map((block) => (SHAPES[block.type] ?? unknown)(block, ctx));

const unknown = (block) => h("p", { class: "unknown" }, `[${block.type}]`);

const SHAPES = {
  header: (b) => h("h3", { class: "header" }, plain(b.text.text)),
  divider: () => h("hr"),
  section,
  context: (b, ctx) => h("div", { class: "context" }, b.elements.map((e) => (e.type === "image" ? small(e, ctx) : h("span", null, textObject(e, ctx.names))))),
  actions: (b, ctx) => h("div", { class: "actions" }, b.elements.map((e) => element(e, b, ctx))),
  image: (b, ctx) =>
    h("figure", null, b.title && h("figcaption", null, plain(b.title.text)), h("img", { src: ctx.file(b.image_url ?? b.slack_file?.url ?? b.slack_file?.id), alt: b.alt_text })),
  plan: (b, ctx) => h("div", { class: "plan", role: "group", "aria-label": b.title }, h("p", { class: "title" }, b.title), h("ol", null, (b.tasks ?? []).map((t) => task(t, ctx)))),
  task_card: (b, ctx) => h("ol", { class: "plan alone" }, task(b, ctx)),
  table,
  rich_text: (b, ctx) => h("div", { class: "rich" }, b.elements.map((part) => rich(part, ctx))),
  markdown: (b, ctx) => h("div", { class: "rich" }, textObject({ type: "mrkdwn", text: b.text }, ctx.names)),
  alert: (b, ctx) => h("div", { class: `alert ${b.level ?? "default"}`, role: "note" }, textObject(b.text, ctx.names)),
  input: field,
};

function section(b, ctx) {
  const said = b.text && h("div", { class: "text" }, textObject(b.text, ctx.names));
  const fields = b.fields && h("div", { class: "fields" }, b.fields.map((f) => h("div", null, textObject(f, ctx.names))));
  const beside = b.accessory && h("div", { class: "accessory" }, b.accessory.type === "image" ? small(b.accessory, ctx) : element(b.accessory, b, ctx));
  return h("div", { class: "section" }, h("div", { class: "main" }, said, fields), beside);
}

const small = (e, ctx) => h("img", { src: ctx.file(e.image_url ?? e.slack_file?.id), alt: e.alt_text, class: "small" });

/** A button, a ⋯ menu, or something to choose with. */
export function element(e, block, ctx) {
  const key = `${block.block_id}/${e.action_id}`;
  const named = { "data-key": key, "data-action": e.action_id };
  if (e.type === "button") {
    if (e.url) return h("a", { class: "button", href: e.url, target: "_blank", rel: "noreferrer noopener", ...named }, plain(e.text.text));
    return h("button", { type: "button", class: `button ${e.style ?? ""}`, "aria-label": e.accessibility_label, onclick: () => ctx.does.press(e, block), ...named }, plain(e.text.text));
  }
  if (e.type === "overflow") {
    return h("button", { type: "button", class: "button more", "aria-label": "More actions", "aria-haspopup": "menu", onclick: (event) => ctx.does.menu(e, block, event), ...named }, "⋯");
  }
  const shown = field({ ...block, type: "input", element: e, label: { text: e.placeholder?.text ?? "Choose" }, bare: true }, ctx);
  return h("div", { class: "choose" }, shown);
}

function task(t, ctx) {
  const state = t.status ?? "pending";
  const more = [t.details, t.output].filter(Boolean).map((part) => blocks([part], ctx));
  return h("li", { class: `task ${state}` }, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[state]), h("div", null, h("span", { class: "name" }, t.title), h("span", { class: "unseen" }, ` (${STATES[state]})`), more));
}

function table(b, ctx) {
  const [head, ...rows] = b.rows;
  const cell = (tag) => (c, i) => {
    const how = b.column_settings?.[i] ?? {};
    const said = c.type === "rich_text" ? blocks([c], ctx) : plain(String(c.text ?? c.value ?? ""));
    return h(tag, { class: `${how.align ?? "left"} ${how.is_wrapped ? "wrapped" : ""}`, scope: tag === "th" ? "col" : null }, said);
  };
  return h("div", { class: "table", role: "region", tabindex: "0", "aria-label": "Table" }, h("table", null, h("thead", null, h("tr", null, head.map(cell("th")))), h("tbody", null, rows.map((row) => h("tr", null, row.map(cell("td")))))));
}

function rich(part, ctx) {
  const leaves = () => part.elements.map((leaf) => leafOf(leaf, ctx));
  switch (part.type) {
    case "rich_text_list":
      return h(part.style === "ordered" ? "ol" : "ul", { class: `indent${part.indent ?? 0}` }, part.elements.map((item) => h("li", null, rich(item, ctx))));
    case "rich_text_quote":
      return h("blockquote", null, leaves());
    case "rich_text_preformatted":
      return h("pre", null, leaves());
    default:
      return h("span", { class: "line" }, leaves());
  }
}

function leafOf(leaf, { names }) {
  switch (leaf.type) {
    case "text": return styled(plain(leaf.text, false), leaf.style);
    case "link": return styled(link(leaf.url, leaf.text ?? leaf.url), leaf.style);
    case "user": return mention("@", names.user(leaf.user_id), names.mine?.(leaf.user_id));
    case "usergroup": return mention("@", names.group(leaf.usergroup_id), names.mine?.(leaf.usergroup_id));
    case "channel": return mention("#", names.channel(leaf.channel_id));
    case "broadcast": return mention("@", leaf.range, true);
    case "emoji": return emoji(leaf.name) ?? `:${leaf.name}:`;
    case "date": return time(leaf.timestamp, leaf.format ?? "{date_short} {time}", leaf.fallback);
    default: return String(leaf.value ?? "");
  }
}

function styled(shown, style = {}) {
  const tags = { bold: "b", italic: "i", strike: "s", code: "code" };
  return Object.keys(tags).filter((name) => style?.[name]).reduce((inner, name) => h(tags[name], null, inner), shown);
}
