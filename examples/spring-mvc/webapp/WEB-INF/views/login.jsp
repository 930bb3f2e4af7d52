<%@ page contentType="text/html; charset=UTF-8" pageEncoding="UTF-8" session="false" %>
<%@ taglib prefix="c" uri="http://java.sun.com/jsp/jstl/core" %>
<!doctype html>
<html lang="zh-CN">
<head>
  <meta charset="UTF-8">
  <link rel="icon" href="data:,">
  <title>登录</title>
</head>
<body>
<form method="post" action="<c:url value="/login"/>">
  <label>用户 <input name="name" value="<c:out value="${param.name}"/>" required></label>
  <label>密码 <input name="password" type="password" required></label>
  <button>登录</button>
  <c:if test="${problem == 'wrong'}"><p id="problem">用户名或密码错误</p></c:if>
  <c:if test="${problem == 'locked'}"><p id="problem">该账号已被锁定</p></c:if>
</form>
</body>
</html>
