/** The script file `tidings-core.js` is loaded for its global `tidings`: the client without SockJS and inbox. */
import type * as core from '../core.ts';

declare global {
  /** What the script file has made. Types for it: `import type { Client } from 'tidings/client/core'`. */
  var tidings: TidingsScript;

  interface TidingsScript {
    Client: TidingsScriptClient;
    CloseCode: typeof core.CloseCode;
    /**
     * Connects, and stays connected until `close()`. Add listeners in the same turn: nothing happens before it ends.
     * @throws {TypeError} where `url` is not one; {Error} where there is no WebSocket
     */
    connect<T = unknown>(options?: core.ConnectOptions): core.ClientOf<T>;
    webSocketTransport: typeof core.webSocketTransport;
  }
  // An interface, and `connect` a method, as a project may have pages with this script and pages with tidings.js.
  interface TidingsScriptClient {
    new <Data = unknown, C = unknown>(options?: core.ConnectOptions): core.Client<Data, C>;
  }
}
