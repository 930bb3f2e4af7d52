/** The script file `tidings-share.js` is fetched by the others where tabs share a connection. It makes no global. */
export {};
