// The button that ends this session; its keys are wiped with it.
import { post } from "./api.js";
import { find } from "./page.js";

find("#signout")?.addEventListener("click", async () => {
  await post("/api/signout").catch(() => {});
  location.assign("/signin");
});
