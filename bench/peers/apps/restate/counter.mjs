// The work of the side-by-side run as a Restate virtual object: POST /counter/ENTITY/HANDLER.
// Usage: node counter.mjs PORT
Promise.withResolvers ??= () => {
  // The SDK asks for Node 22; Debian and many servers have 20, which lacks this one function.
  let resolve, reject;
  const promise = new Promise((yes, no) => ((resolve = yes), (reject = no)));
  return { promise, resolve, reject };
};
const restate = await import("@restatedev/restate-sdk");

async function increment(context) {
  const count = ((await context.get("count")) ?? 0) + 1;
  context.set("count", count);
  return count;
}

const counter = restate.object({
  name: "counter",
  handlers: {
    increment,
    look: restate.handlers.object.shared(async (context) => (await context.get("count")) ?? 0),
    fill: async (context) => {
      for (let field = 1; field <= 100; field++) context.set("field" + field, "x".repeat(92));
      return increment(context);
    },
    spoil: async (context) => {
      context.set("count", 999);
      throw new restate.TerminalError("spoiled on purpose");
    },
    loop: async () => {
      for (;;);
    },
    eat: async () => {
      const eaten = [];
      for (;;) eaten.push(new Array(100000).fill(eaten.length + 0.5));
    },
  },
});

restate.serve({ services: [counter], port: Number(process.argv[2]) });
