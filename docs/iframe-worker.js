/* Browsers start no web worker for a page that was opened as a file. There, and only there,
   the site's search runs in a hidden frame instead. */
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      this.ready = new Promise(resolve => frame.addEventListener("load", () => {
        const inside = frame.contentWindow
        inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
        resolve(inside)
      }))
      frame.srcdoc = `<script src="${url}"><\/script>`
      const add = () => document.body.append(frame)
      document.body ? add() : addEventListener("DOMContentLoaded", add)
    }

    async postMessage(data) {
      (await this.ready).dispatchEvent(new MessageEvent("message", { data }))
    }
  }
  window.Worker = window.IFrameWorker
}
