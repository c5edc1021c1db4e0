// Elements, made and patched. Text goes in as text: nothing here, or anywhere on this page, parses HTML.

/// An element with attributes and children. `class`, `text`, `on` (listeners) and `style` (properties) are told apart;
/// `false`, `null` and `undefined` leave an attribute out, `true` sets it empty.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    // The policy of the page refuses the attribute `style`, not the properties.
    else if (name === "style") for (const [key, said] of Object.entries(value)) element.style.setProperty(key, said);
    else attribute(element, name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/// Sets an attribute, if it isn't so already.
export function attribute(element, name, value) {
  if (value === false || value === null || value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/// Sets the text of an element that holds nothing else, if it isn't so already: an unchanged page costs no layout.
export function setText(element, text) {
  const node = element.firstChild;
  if (node && node.nodeType === Node.TEXT_NODE && !node.nextSibling) {
    if (node.data !== text) node.data = text;
  } else if (node || text !== "") {
    element.textContent = text;
  }
}

/// Brings the children of `parent` into the order of `wanted`, moving only those that stand elsewhere; others are removed.
export function arrange(parent, wanted) {
  let next = parent.firstChild;
  for (const child of wanted) {
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

/// The element of that id: the page has it, or the page is broken.
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}
