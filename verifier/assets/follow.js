// Follows a job while its page is open. Without this script the page shows what happened so far.
"use strict";
(() => {
  const log = document.getElementById("log");
  const live = document.getElementById("live");
  if (!log || !log.dataset.events) return;
  const LINES_MAX = 2000;
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  // Characters that move a cursor or reorder a line are shown as escapes, as on every page.
  const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g;
  const escaped = (text) => text.replace(/\t/g, "    ").replace(UNSAFE, (found) => {
    const code = found.codePointAt(0);
    return code < 0x100 ? "\\x" + code.toString(16).padStart(2, "0") : "\\u{" + code.toString(16) + "}";
  });
  const source = new EventSource(log.dataset.events);
  let fresh = true;
  const add = (kind, text, at) => {
    const follow = atEnd();
    // The server tells everything from the beginning: what was there is replaced.
    if (fresh) log.textContent = "";
    fresh = false;
    const line = document.createElement("div");
    line.className = "l-" + kind;
    const time = document.createElement("time");
    time.dateTime = at;
    time.textContent = at.slice(11, 19);
    line.append(time, " ", escaped(text));
    log.append(line);
    while (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
    if (follow) log.scrollTop = log.scrollHeight;
  };
  const heard = (event) => {
    const news = JSON.parse(event.data);
    if (typeof news.text === "string") {
      add(event.type, news.text, String(news.at));
      if (event.type !== "log" && live) live.textContent = escaped(news.text);
      return;
    }
    // The last event is the job itself.
    source.close();
    location.reload();
  };
  for (const kind of ["stage", "log", "state"]) source.addEventListener(kind, heard);
  source.addEventListener("open", () => { fresh = log.dataset.seen !== "yes"; log.dataset.seen = "yes"; });
  log.scrollTop = log.scrollHeight;
})();
