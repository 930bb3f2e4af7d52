import java.io.File;
import org.apache.catalina.Context;
import org.apache.catalina.WebResourceRoot;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.catalina.valves.RemoteIpValve;
import org.apache.catalina.webresources.DirResourceSet;
import org.apache.catalina.webresources.StandardRoot;
import org.apache.coyote.http11.AbstractHttp11Protocol;
import org.apache.tomcat.util.scan.StandardJarScanner;

/**
 * One instance of the application in an embedded Tomcat: {@code java Main PORT WEBAPP CLASSES WORK}. PORT may be 0.
 * It says "listening on …" when it is ready. SIGTERM ends it gracefully: no new connections, and what is under way
 * is finished.
 */
public class Main {
  public static void main(String[] args) throws Exception {
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir(args[3]);
    tomcat.setPort(Integer.parseInt(args[0]));
    Connector connector = tomcat.getConnector();
    connector.setProperty("address", "127.0.0.1");
    connector.setURIEncoding("UTF-8");

    tomcat.setSilent(true);
    Context context = tomcat.addWebapp("", new File(args[1]).getAbsolutePath());
    // The jars are on the class path of this program. Debian's manifests name others that aren't installed.
    StandardJarScanner scanner = (StandardJarScanner) context.getJarScanner();
    scanner.setScanManifest(false);
    context.setParentClassLoader(Main.class.getClassLoader());
    // What would be WEB-INF/classes in a WAR.
    WebResourceRoot resources = new StandardRoot(context);
    resources.addPreResources(new DirResourceSet(
        resources, "/WEB-INF/classes", new File(args[2]).getAbsolutePath(), "/"));
    context.setResources(resources);

    // Behind a proxy: the user's address and https, from X-Forwarded-For and X-Forwarded-Proto.
    tomcat.getEngine().getPipeline().addValve(new RemoteIpValve());

    tomcat.start();
    System.out.println("listening on http://127.0.0.1:" + connector.getLocalPort() + "/");
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      AbstractHttp11Protocol<?> handler = (AbstractHttp11Protocol<?>) connector.getProtocolHandler();
      // The proxy keeps connections: each is closed with the answer to its next request, not in the middle of one.
      handler.setMaxKeepAliveRequests(1);
      handler.closeServerSocketGraceful();
      handler.awaitConnectionsClose(2_000);
      try {
        tomcat.stop();
      } catch (Exception problem) {
        problem.printStackTrace();
      }
    }));
    tomcat.getServer().await();
  }
}
