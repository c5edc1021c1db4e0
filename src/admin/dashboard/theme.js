// Light or dark: what the system says, until the button is pressed; then what was chosen, kept in this browser.
// Runs before the page is painted, so it is no module. Tells others by the event `themechange` on the document.
(() => {
  "use strict";
  const KEY = "lb.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  const kept = () => {
    try {
      const theme = localStorage.getItem(KEY);
      return theme === "light" || theme === "dark" ? theme : null;
    } catch {
      return null; // storage is switched off
    }
  };

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  const show = () => {
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = isDark() ? "Light theme" : "Dark theme";
    }
    document.dispatchEvent(new Event("themechange"));
  };

  const choose = (theme) => {
    root.dataset.theme = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // It holds for this visit.
    }
    show();
  };

  const theme = kept();
  if (theme) {
    root.dataset.theme = theme;
  }
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => choose(isDark() ? "light" : "dark"));
    show();
  });
})();
