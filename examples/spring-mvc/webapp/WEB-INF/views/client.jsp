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
<script src="/tidings.js"></script>
<script>
  // One of its own, so that it is told why it ends; the bell takes it as well, in place of the one that tabs share.
  var client = tidings.connect();
  byId('bell').client = client;
  client.on('message', function (message) { add(message.data); });
  client.on('state', function (state) {
    if (state.name === 'closed') leave(state.reason);
    else show(state.name === 'connected' ? '已连接' : '已断开');
  });
</script>
</body>
</html>
