// A plot over time: what to draw comes as `content`, newer points through `append`. Data stays here, bounded.
import { echarts } from "nicegui-echart";

const LIGHT = {
  text: "#3b4754", faint: "#e6eaee", axis: "#a8b3be", paper: "#ffffff", ground: "#ffffff",
  colors: ["#2563eb", "#c2410c", "#7c3aed", "#0f766e", "#be185d", "#4d7c0f", "#0369a1", "#92400e"],
  roles: { sensor: "#2563eb", setpoint: "#0f766e", schedule: "#c2750a", coming: "#7c3aed", sent: "#7c3aed" },
};
const DARK = {
  text: "#c3ced9", faint: "#2a343e", axis: "#5b6875", paper: "#1b232b", ground: "#26313b",
  colors: ["#7aa8ff", "#fb923c", "#b79cff", "#4fd1c1", "#f472b6", "#a3d65c", "#56c2f5", "#e0a458"],
  roles: { sensor: "#7aa8ff", setpoint: "#4fd1c1", schedule: "#f5b544", coming: "#b79cff", sent: "#b79cff" },
};
const TIMES = {
  year: "{yyyy}", month: "{MMM}", day: "{d} {MMM}", hour: "{HH}:{mm}", minute: "{HH}:{mm}", second: "{HH}:{mm}:{ss}",
};
const WIDTHS = { setpoint: 2.5, schedule: 3.5 };
const MOST_POINTS = 6000; // of one series

export default {
  template: "<div></div>",
  props: { content: Object },
  mounted() {
    this.zoom = null;
    this.chart = echarts.init(this.$el, null, { renderer: "canvas" });
    this.chart.on("datazoom", () => {
      const { start, end } = this.chart.getOption().dataZoom[0];
      this.zoom = { start, end };
      this.placeHandles();
    });
    this.chart.getZr().on("click", (event) => this.pick(event));
    this.resizing = new ResizeObserver(() => {
      this.chart.resize();
      this.draw();
    });
    this.resizing.observe(this.$el);
    this.draw();
  },
  beforeUnmount() {
    this.resizing.disconnect();
    this.chart.dispose();
  },
  watch: {
    content() { this.draw(); },
    "$q.dark.isActive"() { this.draw(); },
  },
  methods: {
    // -- drawing --------------------------------------------------------------------------------------------------
    draw() {
      if (!this.chart || !this.content || this.$el.clientWidth === 0) return;
      const colors = this.$q.dark.isActive ? DARK : LIGHT;
      const narrow = this.$el.clientWidth < 560;
      this.chart.setOption({
        animation: false,
        textStyle: { fontFamily: getComputedStyle(this.$el).fontFamily, color: colors.text },
        color: colors.colors,
        grid: {
          left: 14, right: this.content.axes.length > 1 ? 14 : 22, top: narrow ? 72 : 62,
          bottom: this.content.slider ? 46 : 12, containLabel: true,
        },
        legend: {
          top: 0, left: 0, right: 0, type: "scroll", icon: "roundRect", itemHeight: 9, itemWidth: 16, itemGap: 14,
          textStyle: { color: colors.text, fontSize: 12 }, inactiveColor: colors.axis,
          pageTextStyle: { color: colors.text }, pageIconColor: colors.text, pageIconInactiveColor: colors.axis,
          data: this.content.series.filter((series) => series.name).map((series) => series.name),
        },
        tooltip: {
          trigger: "axis", confine: true, backgroundColor: colors.ground, borderColor: colors.axis,
          textStyle: { color: colors.text, fontSize: 13 }, formatter: (points) => this.tooltip(points),
          axisPointer: { lineStyle: { color: colors.axis } },
        },
        dataZoom: this.zooming(colors),
        xAxis: {
          type: "time", min: this.content.from, max: this.content.to,
          axisLine: { lineStyle: { color: colors.axis } }, splitLine: { show: false },
          axisLabel: { color: colors.text, hideOverlap: true, formatter: TIMES }, splitNumber: narrow ? 3 : 8,
        },
        yAxis: this.content.axes.map((axis, index) => this.axis(axis, index, colors)),
        series: this.content.series.map((series, index) => this.series(series, index, colors)),
        graphic: [],
      }, { notMerge: true });
      this.placeHandles();
    },
    axis(axis, index, colors) {
      const [low, high] = axis.switch ? [0, 1] : axis.include ?? [null, null];
      const label = axis.switch ? { formatter: (value) => (value ? "on" : "off"), showMinLabel: true, showMaxLabel: true }
        : { showMinLabel: low == null, showMaxLabel: high == null };
      return {
        type: axis.words ? "category" : "value", name: axis.name, scale: true, data: axis.words?.length ? axis.words : undefined,
        min: low == null ? null : (seen) => Math.floor(Math.min(seen.min, low)),
        max: high == null ? null : (seen) => Math.ceil(Math.max(seen.max, high)),
        position: index % 2 ? "right" : "left", offset: Math.floor(index / 2) * 52,
        nameTextStyle: { color: colors.text, align: index % 2 ? "left" : "right", fontWeight: 600 }, nameGap: 20,
        axisLabel: { color: colors.text, ...label }, interval: axis.switch ? 1 : undefined, axisLine: { show: false }, axisTick: { show: false },
        splitLine: { show: index === 0, lineStyle: { color: colors.faint } },
      };
    },
    series(series, index, colors) {
      const color = colors.roles[series.role] ?? colors.colors[index % colors.colors.length];
      return {
        id: series.id, name: series.name, type: "line", yAxisIndex: series.axis ?? 0, data: this.held(series),
        step: series.step ? "end" : false, showSymbol: series.points.length === 1 && !series.step, symbolSize: 6, sampling: "lttb",
        connectNulls: false, color, silent: true, z: series.role === "setpoint" ? 3 : 2,
        lineStyle: { color, width: WIDTHS[series.role] ?? 2, type: series.dashed ? "dashed" : "solid" },
        areaStyle: series.filled ? { color, opacity: 0.1 } : undefined,
        markArea: series.bands && {
          silent: true, itemStyle: { color, opacity: this.$q.dark.isActive ? 0.2 : 0.13 },
          data: series.bands.map((band) => [
            { xAxis: band.from, yAxis: band.low ?? undefined }, { xAxis: band.to, yAxis: band.high ?? undefined },
          ]),
        },
        markLine: series.now && {
          silent: true, symbol: "none", data: [{ xAxis: series.now }], lineStyle: { color: colors.axis, type: "dotted" },
          label: { formatter: "now", color: colors.text, position: "insideEndTop", rotate: 0 },
        },
      };
    },
    held(series, now = this.content.now ?? this.content.to) {
      // What was set holds until something else is: its line goes on to now.
      const last = series.points.at(-1);
      return series.step && last && last[0] < now ? [...series.points, [now, last[1]]] : series.points;
    },
    zooming(colors) {
      const kept = this.zoom ?? { start: 0, end: 100 };
      const inside = {
        type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false, preventDefaultMouseMove: false, ...kept,
        filterMode: "none", moveOnMouseMove: !this.content.picking,
      };
      if (!this.content.slider) return [inside];
      return [inside, {
        type: "slider", height: 20, bottom: 8, left: 24, right: 24, ...kept, filterMode: "none", showDetail: false,
        brushSelect: false, borderColor: colors.axis, fillerColor: "rgb(15 118 110 / 0.18)", handleSize: "120%",
        dataBackground: { lineStyle: { color: colors.axis }, areaStyle: { color: colors.faint } }, textStyle: { color: colors.text },
      }];
    },
    tooltip(points) {
      const box = document.createElement("div");
      const line = (text, strong) => {
        const made = box.appendChild(document.createElement("div"));
        made.textContent = text;
        if (strong) made.style.fontWeight = 600;
      };
      line(new Date(points[0].value[0]).toLocaleString(), true);
      for (const point of points) {
        const series = this.content.series.find((one) => one.id === point.seriesId);
        const value = point.value[1];
        if (value == null || !point.seriesName) continue;
        const shown = typeof value === "number" ? +value.toPrecision(6) : value;
        line(`${point.seriesName}: ${shown} ${series?.unit ?? ""}`);
      }
      return box;
    },

    change(series, handles) {
      if (!this.chart || !this.content) return;
      const colors = this.$q.dark.isActive ? DARK : LIGHT;
      for (const one of series) {
        const index = this.content.series.findIndex((known) => known.id === one.id);
        if (index >= 0) this.content.series[index] = one;
      }
      this.content.handles = handles;
      this.chart.setOption({
        series: series.map((one) => {
          const drawn = this.series(one, 0, colors);
          return { id: one.id, data: drawn.data, markArea: drawn.markArea ?? { data: [] } };
        }),
      });
      this.placeHandles();
    },

    // -- newer points ---------------------------------------------------------------------------------------------
    append(points, from, to, now) {
      if (!this.chart || !this.content) return;
      const changed = [];
      for (const series of this.content.series) {
        const added = points[series.id];
        const change = { id: series.id };
        if (added) {
          const kept = series.points.concat(added);
          const first = kept.findIndex(([timestamp]) => timestamp >= from);
          series.points = kept.slice(Math.max(first - 1, 0, kept.length - MOST_POINTS));
          change.showSymbol = series.points.length === 1 && !series.step;
        }
        if (added || series.step) change.data = this.held(series, now);
        if (series.now) {
          series.now = now;
          change.markLine = { data: [{ xAxis: now }] };
        }
        if (added || series.step || series.now) changed.push(change);
      }
      this.content.from = from;
      this.content.to = to;
      this.chart.setOption({ xAxis: { min: from, max: to }, series: changed });
      this.placeHandles();
    },

    // -- handles: values that a person drags ------------------------------------------------------------------------
    placeHandles() {
      if (this.dragging || !this.content) return;
      const colors = this.$q.dark.isActive ? DARK : LIGHT;
      const graphic = (this.content.handles ?? []).map((handle) => this.handle(handle, colors)).filter(Boolean);
      if (graphic.length || this.handled) this.chart.setOption({ graphic }, { replaceMerge: ["graphic"] });
      this.handled = graphic.length > 0;
    },
    handle(handle, colors) {
      const left = this.chart.convertFromPixel("grid", [0, 0]) && this.visible();
      const from = Math.max(handle.from ?? left[0], left[0]);
      const to = Math.min(handle.to ?? left[1], left[1]);
      if (from >= to) return null;
      const at = from + (to - from) * handle.place;
      const [x, y] = this.chart.convertToPixel("grid", [at, handle.value]);
      if (!this.chart.containPixel("grid", [x, y])) return null;
      const color = colors.roles[handle.role];
      return {
        id: handle.id, type: "circle", x, y, z: 100, shape: { r: 10 }, draggable: handle.free ? true : "vertical",
        style: { fill: color, stroke: colors.paper, lineWidth: 3, shadowBlur: 5, shadowColor: "rgb(0 0 0 / 0.35)" },
        cursor: handle.free ? "move" : "ns-resize",
        ondragstart: () => { this.dragging = { handle, at }; },
        ondrag: (event) => this.dragged(event.target, "drag"),
        ondragend: (event) => { this.dragged(event.target, "drop"); this.dragging = null; this.placeHandles(); },
      };
    },
    visible() {
      const extent = this.chart.getModel().getComponent("xAxis").axis.scale.getExtent();
      return extent;
    },
    dragged(target, event) {
      if (!this.dragging) return;
      const { handle, at } = this.dragging;
      const [moment, value] = this.chart.convertFromPixel("grid", [target.x, target.y]);
      this.$emit(event, { id: handle.id, moved_ms: Math.round(moment - at), value });
    },
    pick(event) {
      if (!this.content?.picking || this.dragging) return;
      const place = [event.offsetX, event.offsetY];
      if (!this.chart.containPixel("grid", place)) return;
      const near = (this.content.handles ?? []).length && event.target?.draggable;
      if (near) return;
      const [at, value] = this.chart.convertFromPixel("grid", place);
      this.$emit("pick", { at: Math.round(at), value });
    },
  },
};
