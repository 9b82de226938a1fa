// The proof that the compiler looks: each of these is wrong, and it must say so. `messages.ts` beside it is written by
// payloads.py and must be right.
import type { KnownBlock, TaskCardBlock } from "@slack/types";

export const wrong: KnownBlock[] = [
  // @ts-expect-error a section's text is an object
  { type: "section", text: "hello" },
  // @ts-expect-error there is no such style
  { type: "actions", elements: [{ type: "button", text: { type: "plain_text", text: "x" }, style: "loud" }] },
  // @ts-expect-error there is no such block
  { type: "paragraph", text: { type: "mrkdwn", text: "hello" } },
  // @ts-expect-error a divider has no text
  { type: "divider", text: { type: "mrkdwn", text: "hello" } },
];

export const wrongTasks: TaskCardBlock[] = [
  // @ts-expect-error there is no such state
  { type: "task_card", task_id: "a", title: "b", status: "waiting" },
];
