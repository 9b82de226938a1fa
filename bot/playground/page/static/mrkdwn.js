// Slack's markup as a tree: https://docs.slack.dev/messaging/formatting-message-text

import { h } from "./tree.js";
import { emoji } from "./emoji.js";

const INLINE =
  /<([^<>]+)>|`([^`\n]+)`|(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])|(?<![\w_])_(?=\S)([^_\n]+?)(?<=\S)_(?![\w_])|(?<![\w~])~(?=\S)([^~\n]+?)(?<=\S)~(?![\w~])|:([a-z0-9_+-]+):/;

const bare = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** A text object -> children. names: {user, group, channel}: id -> what it is called; me: the reader's id. */
export function textObject(value, names) {
  return value.type === "mrkdwn" ? mrkdwn(value.text, names) : plain(value.text, value.emoji !== false);
}

/** Text without markup, with emoji, line by line. */
export function plain(text, withEmoji = true) {
  return lines(text.split("\n").map((line) => (withEmoji ? emojis(line) : [line])));
}

export function mrkdwn(text, names) {
  const parts = text.split("```");
  return parts.map((part, i) => {
    if (i % 2 && i < parts.length - 1) return h("pre", null, bare(part.replace(/^\n|\n$/g, "")));
    return quoted(i % 2 ? "```" + part : part, names);
  });
}

function quoted(text, names) {
  const found = [];
  for (const line of text.split("\n")) {
    const said = line.match(/^(?:&gt;|>) ?(.*)$/);
    const last = found.at(-1);
    const kind = said ? "quote" : "text";
    if (last?.kind === kind) last.lines.push(said ? said[1] : line);
    else found.push({ kind, lines: [said ? said[1] : line] });
  }
  return found.map(({ kind, lines: said }) => {
    const shown = lines(said.map((line) => inline(line, names)));
    return kind === "quote" ? h("blockquote", null, shown) : shown;
  });
}

const lines = (found) => found.flatMap((line, i) => (i ? [h("br"), ...[line].flat()] : line));

function inline(text, names) {
  const found = [];
  let rest = text;
  for (let at; (at = rest.match(INLINE)); rest = rest.slice(at.index + at[0].length)) {
    found.push(bare(rest.slice(0, at.index)));
    const [whole, reference, code, bold, italic, struck, name] = at;
    if (reference) found.push(referred(reference, names));
    else if (code) found.push(h("code", null, bare(code)));
    else if (bold) found.push(h("b", null, inline(bold, names)));
    else if (italic) found.push(h("i", null, inline(italic, names)));
    else if (struck) found.push(h("s", null, inline(struck, names)));
    else found.push(emoji(name) ? shown(name) : whole);
  }
  return [...found, bare(rest)].filter((each) => each !== "");
}

const shown = (name) => h("span", { class: "emoji", role: "img", "aria-label": name.replaceAll("_", " ") }, emoji(name));

function emojis(text) {
  return text.split(/(:[a-z0-9_+-]+:)/).map((part) => {
    const name = part.slice(1, -1);
    return part.startsWith(":") && emoji(name) ? shown(name) : part;
  });
}

function referred(inside, names) {
  const [target, label] = inside.split(/\|(.*)/s);
  if (target.startsWith("!date^")) {
    const [, at, format] = target.split("^");
    return time(Number(at), format, bare(label ?? ""));
  }
  if (target.startsWith("!subteam^")) return mention("@", names.group(target.slice(9)), names.mine?.(target.slice(9)));
  if (target.startsWith("!")) return mention("@", target.slice(1), true);
  if (target.startsWith("@")) return mention("@", names.user(target.slice(1)), names.mine?.(target.slice(1)));
  if (target.startsWith("#")) return mention("#", label || names.channel(target.slice(1)));
  return link(bare(target), bare(label || target));
}

export const mention = (sign, name, mine) => h("span", { class: mine ? "mention mine" : "mention" }, sign + name);

/** A link out; none for an address that a browser would run. */
export function link(url, label) {
  if (!/^(https?:|mailto:)/.test(url)) return label;
  return h("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, label);
}

const DAY = { year: "numeric", month: "short", day: "numeric" };
const FORMATS = {
  time: (d) => d.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
  time_secs: (d) => d.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  date_num: (d) => d.toISOString().slice(0, 10),
  date: (d) => d.toLocaleDateString([], { ...DAY, month: "long" }),
  date_short: (d) => d.toLocaleDateString([], DAY),
  date_long: (d) => d.toLocaleDateString([], { ...DAY, month: "long", weekday: "long" }),
};

/** A moment in the reader's own zone, in Slack's format, such as `{date_short_pretty} {time}`. */
export function time(seconds, format, fallback) {
  const at = new Date(seconds * 1000);
  if (Number.isNaN(at.getTime())) return fallback;
  const day = (d) => d.toDateString();
  const near = { [day(new Date())]: "today", [day(new Date(Date.now() - 864e5))]: "yesterday", [day(new Date(Date.now() + 864e5))]: "tomorrow" };
  const said = format.replace(/\{(\w+)\}/g, (whole, name) => {
    const plainName = name.replace("_pretty", "");
    if (name !== plainName && near[day(at)]) return near[day(at)];
    return FORMATS[plainName]?.(at) ?? whole;
  });
  return h("time", { datetime: at.toISOString(), title: at.toLocaleString() }, said);
}
