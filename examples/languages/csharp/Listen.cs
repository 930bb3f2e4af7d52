// Prints the messages that come for the user of a ticket, as lines of JSON: Listen TICKET
// In .NET: a console project with this file. In Mono:
// mcs -r:System.Runtime.Serialization -r:System.Xml.Linq Listen.cs && mono Listen.exe TICKET
//
// By WebSocket; the frames are those of docs/wire.md. After an interruption it goes on where it was. Ends with status 1
// where the server says not to come back.
using System;
using System.IO;
using System.Net.WebSockets;
using System.Runtime.Serialization.Json;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using System.Xml;
using System.Xml.Linq;

public class Listen
{
    readonly Uri address;
    readonly string ticket;
    readonly Action<string> show;
    /// <summary>JSON. Keep it in a file to go on where you were after a restart, too.</summary>
    string positions = "{}";

    Listen(Uri address, string ticket, Action<string> show)
    {
        this.address = address;
        this.ticket = ticket;
        this.show = show;
    }

    /// <summary>One connection. Returns its close code.</summary>
    async Task<int> Once()
    {
        using (var socket = new ClientWebSocket())
        using (var patience = new CancellationTokenSource(TimeSpan.FromSeconds(12)))
        {
            socket.Options.AddSubProtocol("tidings.1");
            socket.Options.AddSubProtocol("ticket." + ticket);
            await socket.ConnectAsync(address, patience.Token);
            var hello = Encoding.UTF8.GetBytes("{\"type\":\"hello\",\"positions\":" + positions + "}");
            await socket.SendAsync(new ArraySegment<byte>(hello), WebSocketMessageType.Text, true, patience.Token);
            var buffer = new ArraySegment<byte>(new byte[16 * 1024]);
            while (true)
            {
                var text = new MemoryStream();
                WebSocketReceiveResult part;
                do
                {
                    part = await socket.ReceiveAsync(buffer, CancellationToken.None);
                    text.Write(buffer.Array, 0, part.Count);
                } while (!part.EndOfMessage);
                if (part.MessageType == WebSocketMessageType.Close)
                {
                    Console.Error.WriteLine("closed: " + (int)part.CloseStatus + " " + part.CloseStatusDescription);
                    return (int)part.CloseStatus;
                }
                Take(Encoding.UTF8.GetString(text.ToArray()), Parse(text.ToArray()));
            }
        }
    }

    void Take(string text, XElement frame)
    {
        var type = (string)frame.Element("type");
        var place = type == "welcome" ? frame.Element("channels").Element("inbox") : frame;
        if (type != "welcome" && (string)frame.Element("channel") != "inbox") return;
        if (type == "message")
        {
            Keep(frame);
            if ((string)frame.Element("gone") != "true") show(text);
        }
        else if (type == "welcome" || type == "gap")
        {
            Keep(place.Element("position"));
            var reason = (string)place.Element("reason");
            if (reason != null) Console.Error.WriteLine("messages were missed: " + reason);
        }
    }

    void Keep(XElement place)
    {
        positions = "{\"inbox\":{\"epoch\":\"" + (string)place.Element("epoch") + "\",\"offset\":"
            + (string)place.Element("offset") + ",\"id\":\"" + (string)place.Element("id") + "\"}}";
    }

    // The standard library reads JSON as XML.
    static XElement Parse(byte[] json)
    {
        return XElement.Load(JsonReaderWriterFactory.CreateJsonReader(json, XmlDictionaryReaderQuotas.Max));
    }

    public static int Main(string[] args)
    {
        var server = Environment.GetEnvironmentVariable("TIDINGS_URL") ?? "http://127.0.0.1:8080";
        var address = new Uri("ws" + server.Substring("http".Length) + "/socketServer");
        var listen = new Listen(address, args[0], Console.WriteLine);
        while (true)
        {
            try
            {
                var code = listen.Once().GetAwaiter().GetResult();
                if (code >= 4500 && code < 5000) return 1;
            }
            catch (Exception error) when (error is WebSocketException || error is OperationCanceledException)
            {
                Console.Error.WriteLine("connecting again: " + error.GetBaseException().Message);
            }
            Thread.Sleep(2000);
        }
    }
}
