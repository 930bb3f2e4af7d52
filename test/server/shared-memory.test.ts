import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { buildSync } from 'esbuild';
import { compileWat } from '../../scripts/wat.ts';
import { readKey } from '../../src/protocol/mask.ts';
import { sharedBuffer, sharedMemory, unmask, unmaskByWords } from '../../src/server/memory.ts';

const KEY = 0x9a_37_fe_21 | 0;

/** RFC 6455 §5.3 to the letter, byte by byte. */
function masked(bytes: Buffer, key: number): Buffer {
  return Buffer.from(bytes.map((byte, i) => byte ^ ((key >>> ((i & 3) * 8)) & 0xff)));
}

for (const [name, run] of [
  ['WebAssembly', unmask],
  ['words', unmaskByWords],
] as const) {
  test(`§5.3: unmasking in the shared buffer by ${name} agrees with the definition at every alignment and length`, () => {
    for (let start = 0; start < 20; start++) {
      for (const length of [0, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 63, 125, 126, 1000]) {
        randomFillSync(sharedBuffer, 0, 1100);
        const before = Buffer.from(sharedBuffer.subarray(0, 1100));
        const expected = Buffer.concat([
          before.subarray(0, start),
          masked(before.subarray(start, start + length), KEY),
          before.subarray(start + length),
        ]);
        run(sharedBuffer, start, start + length, KEY);
        assert.deepEqual(sharedBuffer.subarray(0, 1100), expected, `start ${start}, length ${length}`);
      }
    }
  });

  test(`unmasking by ${name} tells whether all bytes are ASCII, wherever the one that isn't stands`, () => {
    for (const length of [1, 3, 4, 7, 16, 21, 40, 125]) {
      for (let at = -1; at < length; at++) {
        const text = Buffer.alloc(length, 'a');
        if (at >= 0) text[at] = 0x80;
        masked(text, KEY).copy(sharedBuffer, 5);
        assert.equal(run(sharedBuffer, 5, 5 + length, KEY) === 0, at < 0, `${length} bytes, ${at}`);
      }
    }
  });

  test(`unmasking by ${name} works in the buffer's last bytes and in other memory`, () => {
    const tail = randomFillSync(Buffer.alloc(37));
    masked(tail, KEY).copy(sharedBuffer, sharedBuffer.length - 37);
    run(sharedBuffer, sharedBuffer.length - 37, sharedBuffer.length, KEY);
    assert.deepEqual(sharedBuffer.subarray(-37), tail);

    const other = masked(tail, KEY);
    run(other, 0, other.length, KEY);
    assert.deepEqual(other, tail);
  });
}

test('§5.7: the masked "Hello" of the RFC', () => {
  const frame = Buffer.from('818537fa213d7f9f4d5158', 'hex');
  frame.copy(sharedBuffer);
  assert.equal(unmask(sharedBuffer, 6, 11, readKey(frame, 2)), 0);
  assert.equal(sharedBuffer.toString('latin1', 6, 11), 'Hello');
});

test('the module in simd.ts is simd.wat, compiled (npm run wat)', async () => {
  const compiled = await compileWat();
  assert.ok(readFileSync('src/protocol/simd.ts', 'utf8').includes(`'${compiled}'`));
});

/** What a program prints that unmasks in the shared buffer, after `before` has been done to its process. */
function unmaskIn(shell: string, before = ''): { stdout: string; stderr: string } {
  const { outputFiles } = buildSync({
    entryPoints: ['src/server/memory.ts'],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
  });
  const program = `
    import { subscribe } from 'node:diagnostics_channel';
    let told = 'quick';
    subscribe('tidings:memory:plain', ({ error }) => { told = error instanceof Error ? 'plain' : 'no error'; });
    ${before}
    const memory = await import('data:text/javascript;base64,${Buffer.from(outputFiles[0]!.text).toString('base64')}');
    Buffer.from('7f9f4d5158', 'hex').copy(memory.sharedBuffer);
    memory.unmask(memory.sharedBuffer, 0, 5, 0x3d21fa37);
    console.log(told, memory.sharedBuffer.toString('latin1', 0, 5));`;
  return spawnSync('bash', ['-c', `${shell} exec "$0" --input-type=module`, process.execPath], {
    encoding: 'utf8',
    input: program,
  });
}

test('without WebAssembly the shared buffer is plain memory, unmasking works, and subscribers are told', () => {
  assert.equal(unmaskIn('').stdout.trim(), 'quick Hello');
  const { stdout, stderr } = unmaskIn('', 'delete globalThis.WebAssembly;');
  assert.equal(stdout.trim(), 'plain Hello', stderr);
});

for (const gigabytes of [2, 4, 8]) {
  test(`with ${gigabytes} GB of address space the package loads, and takes the plain path where it must`, () => {
    const limit = `ulimit -v ${gigabytes * 1024 * 1024};`;
    // How much of it WebAssembly wants is another matter in every version of Node.
    const probe = 'new WebAssembly.Memory({ initial: 1 }); console.log("quick")';
    const { stdout: wanted } = spawnSync(
      'bash',
      ['-c', `${limit} exec "$0" --eval '${probe}'`, process.execPath],
      {
        encoding: 'utf8',
      },
    );
    const { stdout, stderr } = unmaskIn(limit);
    assert.equal(stdout.trim(), wanted === 'quick\n' ? 'quick Hello' : 'plain Hello', stderr);
  });
}

test('a view of the shared buffer shows what stands there, however often and at whatever place it is asked for', () => {
  randomFillSync(sharedBuffer);
  for (let round = 0; round < 2; round++) {
    for (const [start, end] of [
      [0, 5],
      [0, 6],
      [4096, 4101],
      [0, 5],
      [8192, 131_072],
      [131_071, 131_072],
    ] as const) {
      const shown = sharedMemory.view(sharedBuffer, start, end);
      assert.deepEqual(shown, Buffer.from(sharedBuffer.subarray(start, end)));
    }
  }
  const other = Buffer.from('other memory');
  assert.equal(sharedMemory.view(other, 0, 5).toString(), 'other');
});
