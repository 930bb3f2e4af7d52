/** The script file `tidings-bell.js` makes `<tidings-bell>` known to the page, and the global `tidings` where there is none. */
import './tidings.d.ts';

export type { TidingsBell } from '../bell/index.ts';
