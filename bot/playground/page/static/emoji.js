// Names of emoji that bots and people of an incident use -> what is shown; others stay as they are written.

const NAMED = {
  "+1": "👍", "-1": "👎", alarm_clock: "⏰", arrow_left: "⬅️", arrow_right: "➡️", ballot_box_with_check: "☑️", bell: "🔔",
  bulb: "💡", calendar: "📅", chart_with_upwards_trend: "📈", construction: "🚧", eyes: "👀", fire: "🔥", hammer_and_wrench: "🛠️",
  heavy_check_mark: "✔️", hourglass: "⌛", hourglass_flowing_sand: "⏳", information_source: "ℹ️", large_blue_circle: "🔵",
  large_green_circle: "🟢", large_red_circle: "🔴", large_yellow_circle: "🟡", link: "🔗", lock: "🔒", mag: "🔍",
  memo: "📝", no_entry: "⛔", no_entry_sign: "🚫", octagonal_sign: "🛑", package: "📦", pause_button: "⏸️", pushpin: "📌",
  question: "❓", raised_hands: "🙌", red_circle: "🔴", rewind: "⏪", rocket: "🚀", rotating_light: "🚨", snowflake: "❄️",
  stopwatch: "⏱️", tada: "🎉", thumbsup: "👍", unlock: "🔓", warning: "⚠️", white_check_mark: "✅", white_circle: "⚪",
  wrench: "🔧", x: "❌", zap: "⚡",
};

/** What `:name:` shows; undefined for a name that is not known here. */
export const emoji = (name) => NAMED[name];

export const QUICK = ["eyes", "white_check_mark", "+1"];
