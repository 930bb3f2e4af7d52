<%@ page contentType="text/html; charset=UTF-8" pageEncoding="UTF-8" session="false" %>
<%@ taglib prefix="c" uri="http://java.sun.com/jsp/jstl/core" %>
<!doctype html>
<html lang="zh-CN">
<head>
  <meta charset="UTF-8">
  <link rel="icon" href="data:,">
  <title>站内信</title>
</head>
<body>
<%@ include file="parts.jspf" %>
<script>
  // A script as people write it by hand: no recovery, no positions; "ping" in, "hb_ok" out.
  var socket, timer, tries = 0;

  function connect() {
    socket = new WebSocket((location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/socketServer');
    socket.onopen = function () {
      tries = 0;
      show('已连接');
      listen();
    };
    socket.onmessage = function (event) {
      listen();
      if (event.data !== 'hb_ok') add(JSON.parse(event.data));
    };
    socket.onclose = function (event) {
      clearTimeout(timer);
      // The one line that tidings adds: codes from 4500 say that coming back is of no use.
      if (event.code >= 4500 && event.code < 5000) return leave(event.reason);
      show('已断开');
      if (++tries <= 20) setTimeout(connect, 10000);
    };
  }

  // After 60 s of silence a ping; after 60 s more the connection counts as dead.
  function listen() {
    clearTimeout(timer);
    timer = setTimeout(function () {
      socket.send('ping');
      timer = setTimeout(function () { socket.close(); }, 60000);
    }, 60000);
  }

  connect();
</script>
</body>
</html>
