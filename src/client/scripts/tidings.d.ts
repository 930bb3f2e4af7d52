/** The script file `tidings.js` is loaded for its global `tidings`: the client with all its parts. */
import type * as all from '../index.ts';

declare global {
  /** What the script file has made. Types for it: `import type { Client } from 'tidings/client'`. */
  var tidings: TidingsScript;

  interface TidingsScript {
    Client: TidingsScriptClient;
    CloseCode: typeof all.CloseCode;
    /**
     * Connects, and stays connected until `close()`. Add listeners in the same turn: nothing happens before it ends.
     * @throws {TypeError} where `url` is not one; {Error} where there is neither WebSocket nor fetch
     */
    connect<T = unknown>(options?: all.ConnectOptions): all.ClientOf<T>;
    webSocketTransport: typeof all.webSocketTransport;
  }
  // An interface, and `connect` a method, as a project may have pages with this script and pages with tidings-core.js.
  interface TidingsScriptClient {
    new <Data = unknown, C = unknown>(options?: all.ConnectOptions): all.Client<Data, C>;
  }
}
