// The work of the side-by-side run as a Durable Object with SQLite storage: POST /ENTITY/HANDLER.
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  increment() {
    const count = (this.ctx.storage.kv.get("count") ?? 0) + 1;
    this.ctx.storage.kv.put("count", count);
    return count;
  }
  look() {
    return this.ctx.storage.kv.get("count") ?? 0;
  }
  fill() {
    for (let field = 1; field <= 100; field++) {
      this.ctx.storage.kv.put("field" + field, "x".repeat(92));
    }
    return this.increment();
  }
  spoil() {
    this.ctx.storage.kv.put("count", 999);
    throw new Error("spoiled on purpose");
  }
  loop() {
    for (;;);
  }
  eat() {
    const eaten = [];
    for (;;) eaten.push(new Array(100000).fill(eaten.length + 0.5));
  }
}

const HANDLERS = new Set(["increment", "look", "fill", "spoil", "loop", "eat"]);

export default {
  async fetch(request, environment) {
    const [, entity, handler] = new URL(request.url).pathname.split("/");
    if (!HANDLERS.has(handler)) return new Response("no such handler", { status: 404 });
    try {
      return Response.json(await environment.COUNTER.getByName(entity)[handler]());
    } catch (error) {
      return new Response(String(error), { status: 500 });
    }
  },
};
