/*
 * A page that is opened from a folder may not start a Worker, which the search runs in. Here it runs in a hidden frame
 * of the page instead: the same script, the same messages.
 */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.onmessage = null;
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.appendChild(frame);
      this.scope = frame.contentWindow;
      this.scope.importScripts = (...addresses) => Promise.all(addresses.map((one) => this.load(one)));
      // Messages arrive as copies, after what is running, as between threads.
      this.scope.postMessage = (told) => {
        const data = structuredClone(told);
        setTimeout(() => {
          const message = new MessageEvent("message", { data });
          if (this.onmessage) this.onmessage(message);
          this.dispatchEvent(message);
        });
      };
      this.frame = frame;
      this.load(address).then(() => {
        const messages = this.waiting;
        this.waiting = null;
        messages.forEach((data) => this.deliver(data));
      });
    }

    load(address) {
      return new Promise((resolve, reject) => {
        const script = this.scope.document.createElement("script");
        script.src = new URL(address, location.href);
        script.onload = resolve;
        script.onerror = reject;
        this.scope.document.documentElement.appendChild(script);
      });
    }

    deliver(data) {
      setTimeout(() => this.scope.dispatchEvent(new MessageEvent("message", { data })));
    }

    postMessage(told) {
      const data = structuredClone(told);
      if (this.waiting) this.waiting.push(data);
      else this.deliver(data);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
