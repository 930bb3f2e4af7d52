// Sends a message to all pages of a user: TIDINGS_ADMIN_TOKEN=… Send USER JSON [KEY]
// In .NET: a console project with this file. In Mono: mcs -r:System.Net.Http Send.cs && mono Send.exe …
using System;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;

public static class Send
{
    static readonly HttpClient client = new HttpClient { Timeout = TimeSpan.FromSeconds(12) };

    /// <summary>Returns the receipt. With the same key again nothing is stored twice, so it is safe to ask again.</summary>
    public static async Task<string> ToUser(string server, string token, string user, string json, string key)
    {
        var address = server + "/api/users/" + Uri.EscapeDataString(user) + "/messages";
        var problem = "";
        for (var attempt = 1; attempt <= 3; attempt++)
        {
            if (attempt > 1) await Task.Delay(attempt * 1000);
            var request = new HttpRequestMessage(HttpMethod.Post, address);
            request.Headers.Add("Authorization", "Bearer " + token);
            request.Headers.Add("Idempotency-Key", key);
            request.Content = new StringContent(json, Encoding.UTF8, "application/json");
            try
            {
                using (var response = await client.SendAsync(request))
                {
                    var body = await response.Content.ReadAsStringAsync();
                    if ((int)response.StatusCode == 201) return body;
                    problem = (int)response.StatusCode + ": " + body;
                    if ((int)response.StatusCode < 500) break;
                }
            }
            catch (Exception error) when (error is HttpRequestException || error is TaskCanceledException)
            {
                problem = error.GetBaseException().Message;
            }
        }
        throw new InvalidOperationException(problem);
    }

    public static int Main(string[] args)
    {
        var server = Environment.GetEnvironmentVariable("TIDINGS_URL") ?? "http://127.0.0.1:8080";
        var token = Environment.GetEnvironmentVariable("TIDINGS_ADMIN_TOKEN");
        var key = args.Length > 2 ? args[2] : Guid.NewGuid().ToString();
        try
        {
            Console.Write(ToUser(server, token, args[0], args[1], key).GetAwaiter().GetResult());
            return 0;
        }
        catch (InvalidOperationException error)
        {
            Console.Error.WriteLine("not sent: " + error.Message);
            return 1;
        }
    }
}
