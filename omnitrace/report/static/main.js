import { mount } from "./viewer.js";

mount(
  document.getElementById("viewer"),
  JSON.parse(document.getElementById("omnitrace-data").textContent),
);
