// Wide tables scroll by keyboard, too. The theme wraps them when a page is shown.
document$.subscribe(() => requestAnimationFrame(() => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) table.tabIndex = 0;
}));
