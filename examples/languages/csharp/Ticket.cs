// A ticket for a page of USER, a JSON Web Token (HS256): TIDINGS_JWT_SECRET=… Ticket USER [SECONDS]
using System;
using System.Security.Cryptography;
using System.Text;

public static class Ticket
{
    public static string Sign(string user, long seconds, string secret)
    {
        var name = user.Replace("\\", "\\\\").Replace("\"", "\\\"");
        var expires = DateTimeOffset.UtcNow.ToUnixTimeSeconds() + seconds;
        var signed = Base64Url(Encoding.UTF8.GetBytes("{\"alg\":\"HS256\",\"typ\":\"JWT\"}")) + "."
            + Base64Url(Encoding.UTF8.GetBytes("{\"sub\":\"" + name + "\",\"exp\":" + expires + "}"));
        using (var mac = new HMACSHA256(Encoding.UTF8.GetBytes(secret)))
        {
            return signed + "." + Base64Url(mac.ComputeHash(Encoding.ASCII.GetBytes(signed)));
        }
    }

    static string Base64Url(byte[] bytes)
    {
        return Convert.ToBase64String(bytes).TrimEnd('=').Replace('+', '-').Replace('/', '_');
    }

    public static void Main(string[] args)
    {
        var seconds = args.Length > 1 ? long.Parse(args[1]) : 600;
        Console.WriteLine(Sign(args[0], seconds, Environment.GetEnvironmentVariable("TIDINGS_JWT_SECRET")));
    }
}
