// What is masked, and what only looks like it.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "values/secrets.hpp"

using namespace pyscope;

TEST_CASE("names of secrets are known in any case and as parts") {
  const SecretNames names({"PIN"});
  for (const auto* name :
       {"password", "DB_PASSWORD", "userPasswd", "Authorization", "x-api-key", "csrf_token",
        "SECRET_KEY", "Set-Cookie", "aws_access_key_id", "private_key", "pin_code"}) {
    CAPTURE(name);
    CHECK(names.matches(name));
  }
  for (const auto* name : {"name", "PWD", "OLDPWD", "path", "key", ""}) {
    CAPTURE(name);
    CHECK_FALSE(names.matches(name));
  }
  CHECK_FALSE(SecretNames().matches("pin_code"));
  CHECK(names.matches_number("password"));
  CHECK_FALSE(names.matches_number("max_tokens"));
}

TEST_CASE("the user part of a URL is masked wherever it stands") {
  const auto masked = [](std::string text, bool cut = false) {
    mask_url_users(text, cut);
    return text;
  };
  CHECK(masked("postgres://ann:p@ss@db/shop?a@b") == "postgres://***@db/shop?a@b");
  CHECK(masked("a https://u:p@h, b ftp://v@w/") == "a https://***@h, b ftp://***@w/");
  CHECK(masked("https://host/a@b") == "https://host/a@b");
  CHECK(masked("https://host:80") == "https://host:80");
  CHECK(masked("no url: ann@host") == "no url: ann@host");
  CHECK(masked("://@") == "://@");
  CHECK(masked("https://ann:hunt", true) == "https://***");
  CHECK(masked("https://ann:hunt") == "https://ann:hunt");
  std::u32string wide = U"redis://:pw€@h";
  CHECK(mask_url_users(wide));
  CHECK(wide == U"redis://***@h");
}

TEST_CASE("a command line is shown without what its names say is secret") {
  using Words = std::vector<std::string>;
  const SecretNames names;
  CHECK(mask_command(Words{"python3", "app.py", "--password=x", "--token", "y", "--token", "-v",
                           "API_KEY=z", "https://u:p@h/", "--port=80", "--secret"},
                     names) == Words{"python3", "app.py", "--password=***", "--token", "***",
                                     "--token", "-v", "API_KEY=***", "https://***@h/", "--port=80",
                                     "--secret"});
  CHECK(mask_command({}, names).empty());
}

TEST_CASE("values within texts are masked by their names") {
  const SecretNames names;
  const auto masked = [&](std::string text) {
    std::u32string wide(text.begin(), text.end());
    const bool any = mask_named_values(text, names);
    CHECK(mask_named_values(wide, names) == any);
    CHECK(wide == std::u32string(text.begin(), text.end()));
    return text;
  };
  CHECK(masked("/login?user=ann&access_token=abc&next=/") ==
        "/login?user=ann&access_token=***&next=/");
  CHECK(masked("password=x%20y") == "password=***");
  // No header, as its line begins with another letter, whose low byte is that of an "a".
  std::u32string other = U"\u0161Authorization: x";
  CHECK_FALSE(mask_named_values(other, names));
  CHECK(masked("host=db user=ann password='it is' port=5432") ==
        "host=db user=ann password='***' port=5432");
  CHECK(masked("Server=db;Pwd=x;Port=1") == "Server=db;Pwd=***;Port=1");
  CHECK(masked("DB_PASSWORD = hunter2\nport = 80") == "DB_PASSWORD = ***\nport = 80");
  CHECK(masked(R"({"user": "ann", "api_key": "a\"b", "n": 1})") ==
        R"({"user": "ann", "api_key": "***", "n": 1})");
  CHECK(masked(R"({"body": "{\"token\": \"abc\", \"id\": 7}"})") ==
        R"({"body": "{\"token\": \"***\", \"id\": 7}"})");
  CHECK(masked("{'password': 'x', 'secret':12}") == "{'password': '***', 'secret':***}");
  CHECK(masked("GET / HTTP/1.1\r\nAuthorization: Basic YQ==\r\nHost: a\r\n\r\n") ==
        "GET / HTTP/1.1\r\nAuthorization: ***\r\nHost: a\r\n\r\n");
  CHECK(masked("max_tokens=100&token=100") == "max_tokens=100&token=100");
  CHECK(masked(R"({"max_tokens": 100, "password": 1234})") ==
        R"({"max_tokens": 100, "password": ***})");
  CHECK(masked("Cookie: a=b; c=d") == "Cookie: ***");
  for (const auto* text :
       {"", "=", ":", "token", "token=", "a=b&c=d", "if token == other:", "the password: is long",
        R"({"tokens": [1, 2]})", "x=1:2", "http://host:80/", "'password'", "\"password\":"}) {
    CHECK(masked(text) == text);
  }
  // What is cut in the middle of a secret is masked up to its end.
  CHECK(masked("token='abc") == "token='***");
  CHECK(masked(R"("token": "abc\)") == R"("token": "***)");
  std::string long_name(10'000, 'a');
  CHECK(masked(long_name + "token=x") == long_name + "token=***");
  std::string many(100'000, '=');
  CHECK(masked(many) == many);
}
