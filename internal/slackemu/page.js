"use strict";
// The page works without this. It renews what is shown, unless somebody is in
// the middle of something, and starts at the newest message.
const lists = () => ["live", "live-thread"].map((id) => document.getElementById(id)).filter(Boolean);
for (const list of lists()) if (!location.hash) list.scrollTop = list.scrollHeight;
document.getElementById("as").addEventListener("change", (e) => e.target.form.submit());
setInterval(async () => {
  if (document.hidden || document.getElementById("modal") || document.querySelector("form:has(:focus):not(.type)")) return;
  const answer = await fetch(location.href).catch(() => null);
  if (!answer || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (fresh.getElementById("modal")) { location.reload(); return; }
  for (const list of lists()) {
    const now = fresh.getElementById(list.id);
    if (!now || now.innerHTML === list.innerHTML) continue;
    const atEnd = list.scrollTop + list.clientHeight > list.scrollHeight - 40;
    list.innerHTML = now.innerHTML;
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}, 1500);
