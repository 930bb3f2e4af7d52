/** `/htmlfile`: frames as script elements of an endless page in a hidden iframe. */
import { callbackName, type Route } from '../route.ts';

const HEAD = (callback: string) => `<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.${callback};
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>`;

export const htmlfile: Route = {
  method: 'GET',
  run(exchange, sessions) {
    const callback = callbackName(exchange);
    if (callback === undefined) return;
    sessions.receive(exchange, {
      kind: 'htmlfile',
      contentType: 'text/html; charset=UTF-8',
      // Safari runs no script before 1 KiB has come.
      prelude: `${HEAD(callback).padEnd(1024)}\r\n\r\n`,
      // An HTML parser ends the script at any "</script", also inside a string: "<\/" means the same there.
      wrap: (frame) =>
        `<script>\np(${JSON.stringify(frame).replaceAll('</', '<\\/').replaceAll('<!--', '<\\!--')});\n</script>\r\n`,
      limit: sessions.responseLimit,
    });
  },
};
