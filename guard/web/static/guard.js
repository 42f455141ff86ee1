// The pages work without this. It keeps secrets out of sight, choices across pages, and progress up to date.

const { dataset } = document.body;
const page = (selector, root = document) => root.querySelector(selector);

// The token leaves the address bar, and with it screenshots, shared screens and the list behind the back button.
// What reloading and going back need is kept with the entry of this tab's own history.
if (dataset.masked && dataset.address) {
  history.replaceState({ address: dataset.address }, "", dataset.masked);
}
if (dataset.resume) {
  const address = history.state?.address;
  if (typeof address === "string" && address.startsWith(dataset.resume)) location.replace(address);
}

// A form that writes is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-once]")) delete form.dataset.sent;
});

// Choice of records, across the pages of a plan: some, or all but some.
class Choice {
  constructor(run, total) {
    this.key = `guard ${run}`;
    this.total = total;
    const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
    this.all = kept.all ?? false;
    this.ids = new Set(kept.ids ?? []); // all: those left out
  }

  get size() {
    return this.all ? this.total - this.ids.size : this.ids.size;
  }

  has(id) {
    return this.all !== this.ids.has(id);
  }

  set(id, chosen) {
    if (chosen === this.all) this.ids.delete(id);
    else this.ids.add(id);
    this.keep();
  }

  everything(all) {
    this.all = all;
    this.ids.clear();
    this.keep();
  }

  keep() {
    sessionStorage.setItem(this.key, JSON.stringify({ all: this.all, ids: [...this.ids] }));
  }
}

function choosing() {
  const chooser = page(".chooser");
  const form = page("#take");
  if (!chooser || !form || !dataset.run) return;
  const choice = new Choice(dataset.run + new URLSearchParams(new URL(form.action).search), Number(chooser.dataset.total));
  const ticks = [...document.querySelectorAll("input[name=ids][form=take]")];
  const button = page(".chosen button");
  const show = () => {
    for (const tick of ticks) tick.checked = choice.has(tick.value);
    button.parentElement.hidden = !choice.size;
    button.parentElement.classList.toggle("on", choice.size > 0);
    button.textContent = `Take back the ${choice.size.toLocaleString("en")} chosen …`;
    page("[data-chosen]").textContent = `${choice.size.toLocaleString("en")} chosen`;
  };
  for (const tick of ticks) {
    tick.addEventListener("change", () => {
      choice.set(tick.value, tick.checked);
      show();
    });
  }
  chooser.addEventListener("click", ({ target }) => {
    const what = target.dataset?.choose;
    if (what === "page") for (const tick of ticks) choice.set(tick.value, true);
    if (what === "all" || what === "none") choice.everything(what === "all");
    if (what) show();
  });
  form.addEventListener("formdata", ({ formData }) => {
    for (const name of ["ids", "except_ids"]) formData.delete(name);
    if (formData.get("choice") !== "chosen") return;
    for (const id of choice.ids) formData.append(choice.all ? "except_ids" : "ids", id);
  });
  chooser.hidden = false;
  show();
}

// Put a new section in the place of an old one, without taking anything out of anybody's hands.
function keepAsItIs(old, fresh) {
  const at = (root) => [...root.querySelectorAll("a, button, input, select, summary")];
  const focused = at(old).indexOf(document.activeElement);
  const name = document.activeElement?.textContent + document.activeElement?.value;
  const [search, tools] = [page("#search", old)?.value, page(".tools", old)?.open];
  old.replaceWith(document.adoptNode(fresh));
  if (page("#search") && search) page("#search").value = search;
  if (page(".tools") && tools) page(".tools").open = true;
  if (focused >= 0) at(fresh).find((each) => each.textContent + each.value === name)?.focus({ preventScroll: true });
}

// What the records hold now, where the system had not answered yet when the page was made.
async function readLater() {
  const section = page("#records[data-read]");
  if (!section) return;
  try {
    const reply = await fetch(section.dataset.read, { headers: { accept: "text/html" } });
    const read = new DOMParser().parseFromString(await reply.text(), "text/html").querySelector("#records");
    if (!reply.ok || !read) return;
    keepAsItIs(section, read);
    choosing();
  } catch {
    // The link on the page does the same.
  }
}

// Progress, told as it comes; aloud not more often than somebody can listen.
function progress() {
  const section = page("[data-events]");
  if (!section) return;
  const bar = page("progress", section);
  const told = page("[data-told]", section);
  const number = (value) => Number(value ?? 0).toLocaleString("en");
  let last = 0;
  const show = (now) => {
    const total = now.records_planned ?? now.records_total;
    const done = now.records_done ?? now.records_applied + now.records_failed;
    if (!bar) return; // a checkpoint that waits for its seal
    if (total) Object.assign(bar, { max: total, value: done });
    if (total && Date.now() - last > 2000) {
      const more = now.records_planned === undefined ? "" : `, ${number(now.records_written)} written back`;
      told.textContent = `${number(done)} of ${number(total)} records done${more}.`;
      last = Date.now();
    }
  };
  const source = new EventSource(section.dataset.events);
  source.addEventListener("progress", ({ data }) => show(JSON.parse(data)));
  source.addEventListener("ended", () => {
    source.close();
    location.replace(section.dataset.then);
  });
  source.addEventListener("store_unavailable", () => {
    told.textContent = "The snapshot store cannot be read now. This page tries again.";
  });
}

choosing();
readLater();
progress();
