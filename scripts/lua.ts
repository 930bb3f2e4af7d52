/**
 * `npm run lua`: writes the text of src/pubsub/store/lua/*.lua into src/pubsub/store/lua.ts, so that nothing has to be read
 * from files beside a module: in a bundle there are none. Lines of comments are left out, which no Redis needs. A test checks that
 * the two agree.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

const FOLDER = 'src/pubsub/store/lua';
export const LUA_MODULE = 'src/pubsub/store/lua.ts';

/** The module's source. */
export function luaModule(): string {
  const scripts = readdirSync(FOLDER)
    .sort()
    .map((file) => {
      const text = readFileSync(`${FOLDER}/${file}`, 'utf8')
        .replace(/^ *--.*\n/gm, '')
        .trimStart()
        .replace(/[\\`]|\$(?=\{)/g, '\\$&');
      return `  ${basename(file, '.lua')}: \`${text}\`,\n`;
    });
  return `/** The text of the Lua scripts without comments, made of lua/*.lua by \`npm run lua\`. */\nexport const lua = {\n${scripts.join('')}};\n`;
}

if (process.argv[1] === import.meta.filename) writeFileSync(LUA_MODULE, luaModule());
