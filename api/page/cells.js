// Cells of the list of datapoints. Texts come from the bus: they are set as text, never as HTML.
window.wattbus = (() => {
  let ahead_ms = 0; // how far the server's clock is ahead of the browser's

  const element = (name, classes, text) => {
    const made = document.createElement(name);
    made.className = classes;
    made.textContent = text;
    return made;
  };

  const age = (timestamp_ms) => {
    if (timestamp_ms == null) return "never";
    const seconds = Math.max(0, (Date.now() + ahead_ms - timestamp_ms) / 1000);
    for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"]])
      if (seconds >= 2 * length) return `${Math.round(seconds / length)} ${unit} ago`;
    return `${Math.round(seconds)} s ago`;
  };

  const badge = (quality) => element("span", `wb-badge wb-${quality.kind}`, quality.word);

  return {
    age,
    setClock: (server_ms) => { ahead_ms = server_ms - Date.now(); },
    nameCell: ({ data, api }) => {
      const cell = element("div", "wb-cell", "");
      const name = element(data.id == null ? "span" : "a", data.id == null ? "" : "wb-link", data.name);
      if (data.id != null) name.href = `/view/${data.id}`;
      const narrow = !api.getColumn("connector").isVisible();
      cell.append(name, element("span", "wb-mono wb-faint", narrow ? `${data.connector} · ${data.key}` : data.key));
      return cell;
    },
    valueCell: ({ data, api }) => {
      const cell = element("div", "wb-cell wb-number", "");
      cell.style.alignItems = "flex-end";
      const value = element("span", "", data.value);
      value.style.fontWeight = 600;
      cell.append(value);
      if (!api.getColumn("connector").isVisible()) {
        const bad = data.quality && data.quality.kind !== "good";
        const text = bad ? `${data.quality.word}, ${age(data.timestamp)}` : age(data.timestamp);
        cell.append(element("span", "wb-small wb-faint", text));
      }
      return cell;
    },
    qualityCell: ({ data }) => (data.quality ? badge(data.quality) : ""),
    fit: ({ api, clientWidth }) => {
      api.setColumnsVisible(["quality", "timestamp", "connector", "type"], clientWidth > 700);
      api.refreshCells({ force: true });
    },
  };
})();
