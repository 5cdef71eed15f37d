// bullmq.mjs SOCKET: the same figures of BullMQ in the Redis on that socket: no-op jobs with data as long as two of our URLs, one worker
// with one job at a time; the best of five rounds. Prints "name value" lines. Run where bullmq and ioredis are installed.
import { Queue, Worker } from 'bullmq';
import { createRequire } from 'node:module';
const Redis = createRequire(import.meta.url)('ioredis');

const ROUND = 20000, PIPE = 500, PICKUPS = 500, ROUNDS = 5;
const connect = () => new Redis({ path: process.argv[2], maxRetriesPerRequest: null });
const tell = (name, value) => console.log(name, value.toPrecision(6));
const seconds = () => performance.now() / 1e3;
const data = { dataset: 'x'.repeat(64), output: 'x'.repeat(64) };
const redis = connect(), queue = new Queue('bench', { connection: connect() });

// All that wait, by one worker: the best round of them.
async function workOff() {
  let n = 0, best = 0, began = seconds();
  await new Promise((done) => {
    const worker = new Worker('bench', async () => {
      if (++n % ROUND > 0) return;
      best = Math.max(best, ROUND / (seconds() - began));
      began = seconds();
      if (n === ROUNDS * ROUND) setImmediate(() => worker.close().then(done));
    }, { connection: connect() });
  });
  return best;
}

async function usedMemory() {
  return Number((await redis.info('memory')).match(/used_memory:(\d+)/)[1]);
}

await redis.flushall();
async function best(rate) {
  let most = 0;
  for (let i = 0; i < ROUNDS; i++) most = Math.max(most, await rate());
  return most;
}
const cpuUs = async () =>
  [...(await redis.info('cpu')).matchAll(/used_cpu_(?:user|sys):([0-9.]+)/g)].reduce((sum, m) => sum + Number(m[1]) * 1e6, 0);
async function measure(rateName, cpuName, rounds) {
  const before = await cpuUs();
  tell(rateName, await rounds());
  tell(cpuName, (await cpuUs() - before) / (ROUNDS * ROUND));
}

await measure('submit_per_s', 'submit_cpu_us', () => best(async () => {
  const began = seconds();
  for (let i = 0; i < ROUND; i++) await queue.add('fit', data);
  return ROUND / (seconds() - began);
}));
await measure('finish_with_next_claim_per_s', 'finish_with_next_claim_cpu_us', workOff);

await redis.flushall();
const before = await usedMemory();
await measure('submit_piped_per_s', 'submit_piped_cpu_us', () => best(async () => {
  const began = seconds();
  for (let done = 0; done < ROUND; done += PIPE) await queue.addBulk(Array(PIPE).fill({ name: 'fit', data }));
  return ROUND / (seconds() - began);
}));
tell('queued_bytes_64', (await usedMemory() - before) / (ROUNDS * ROUND));
await workOff();
tell('finished_bytes_64', (await usedMemory() - before) / (ROUNDS * ROUND));

await redis.flushall();
const ms = [];
let picked;
const worker = new Worker('bench', async () => { picked(); }, { connection: connect() });
await worker.waitUntilReady();
for (let i = 0; i < PICKUPS; i++) {
  await new Promise((r) => setTimeout(r, 10));
  const at = performance.now();
  const seen = new Promise((r) => { picked = r; });
  await Promise.all([queue.add('fit', data), seen]);
  ms.push(performance.now() - at);
}
await worker.close();
ms.sort((a, b) => a - b);
tell('pickup_p50_ms', ms[PICKUPS / 2]);
tell('pickup_p99_ms', ms[Math.floor(PICKUPS * 0.99)]);
process.exit(0);
