#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "process/sockets.hpp"

using namespace pyscope;

namespace {

std::string text_of(SocketTable table, std::string_view line) {
  const auto socket = parse_socket(table, line);
  return socket ? to_text(*socket) : "none";
}

std::string tcp_line(const std::string& local, const std::string& remote,
                     const std::string& state) {
  return "   0: " + local + " " + remote + " " + state +
         " 00000000:00000000 00:00000000 00000000  1000        0 31415 1 00000000ebbc85ce 100 0 0 "
         "10 0";
}

std::string unix_line(const std::string& flags, const std::string& type, const std::string& state,
                      const std::string& path) {
  return "00000000ab41f046: 00000003 00000000 " + flags + " " + type + " " + state + "  1571" +
         path;
}

}  // namespace

// The kernel prints addresses as numbers of the machine: these are those of a little-endian one.
TEST_CASE("internet sockets are told with their addresses and state", "[process]") {
  CHECK(text_of(SocketTable::Tcp, tcp_line("0100007F:A8CA", "0100007F:1538", "01")) ==
        "tcp 127.0.0.1:43210 -> 127.0.0.1:5432 established");
  CHECK(text_of(SocketTable::Tcp, tcp_line("00000000:07E8", "00000000:0000", "0A")) ==
        "tcp 0.0.0.0:2024 listen");
  CHECK(text_of(SocketTable::Tcp, tcp_line("0200000A:A8CA", "0500000A:1538", "02")) ==
        "tcp 10.0.0.2:43210 -> 10.0.0.5:5432 syn_sent");
  CHECK(text_of(SocketTable::Tcp, tcp_line("0200000A:A8CA", "0500000A:1538", "08")) ==
        "tcp 10.0.0.2:43210 -> 10.0.0.5:5432 close_wait");
  CHECK(text_of(SocketTable::Tcp, tcp_line("0200000A:A8CA", "0500000A:1538", "5F")) ==
        "tcp 10.0.0.2:43210 -> 10.0.0.5:5432");
  const std::string v6 = "00000000000000000000000001000000";
  CHECK(text_of(SocketTable::Tcp6, tcp_line(v6 + ":A8CA", v6 + ":1538", "01")) ==
        "tcp [::1]:43210 -> [::1]:5432 established");
  const std::string mapped = "0000000000000000FFFF00000100007F";
  CHECK(text_of(SocketTable::Tcp6, tcp_line(mapped + ":0050", mapped + ":A8CA", "01")) ==
        "tcp [::ffff:127.0.0.1]:80 -> [::ffff:127.0.0.1]:43210 established");
  CHECK(text_of(SocketTable::Udp, tcp_line("00000000:0035", "00000000:0000", "07")) ==
        "udp 0.0.0.0:53");
  CHECK(text_of(SocketTable::Udp6, tcp_line(v6 + ":A8CA", v6 + ":0035", "01")) ==
        "udp [::1]:43210 -> [::1]:53");
}

TEST_CASE("unix sockets are told with their kind, path and state", "[process]") {
  const auto text = [](const std::string& flags, const std::string& type, const std::string& state,
                       const std::string& path) {
    return text_of(SocketTable::Unix, unix_line(flags, type, state, path));
  };
  CHECK(text("00000000", "0001", "03", "") == "unix stream connected");
  CHECK(text("00010000", "0001", "01", " /run/app.sock") == "unix stream /run/app.sock listen");
  CHECK(text("00000000", "0002", "01", " @abstract name") == "unix datagram @abstract name");
  CHECK(text("00000000", "0005", "02", "") == "unix seqpacket connecting");
  CHECK(text("00000000", "0001", "03", " /run/a b  c\x1b[0m ") ==
        "unix stream /run/a b  c\x1b[0m  connected");
}

TEST_CASE("a socket is found by its inode", "[process]") {
  CHECK(socket_inode(SocketTable::Tcp, tcp_line("0100007F:A8CA", "0100007F:1538", "01")) == 31415U);
  CHECK(socket_inode(SocketTable::Unix, unix_line("00000000", "0001", "03", " /x 99")) == 1571U);
  CHECK_FALSE(socket_inode(SocketTable::Tcp,
                           "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
                           "retrnsmt   uid  timeout inode"));
  CHECK_FALSE(
      socket_inode(SocketTable::Unix, "Num       RefCount Protocol Flags    Type St Inode Path"));
  // One that nobody has accepted yet.
  CHECK_FALSE(
      socket_inode(SocketTable::Tcp, "0: 0100007F:A8CA 0100007F:1538 01 0:0 0:0 0 0 0 0 1"));
  CHECK_FALSE(socket_inode(SocketTable::Tcp, ""));
}

TEST_CASE("a line of a table that makes no sense is none", "[process]") {
  const std::string good = tcp_line("0100007F:A8CA", "0100007F:1538", "01");
  for (std::size_t size = 0; size < good.size(); ++size) {
    (void)parse_socket(SocketTable::Tcp, good.substr(0, size));
    (void)parse_socket(SocketTable::Unix, good.substr(0, size));
  }
  for (const std::string_view endpoint :
       {"", ":", "0100007F", "0100007F:", "0100007:1538", "0100007G:1538", "0100007F:15380",
        "-100007F:1538", "0100007F01:1538", "00000000000000000000000001:1538"}) {
    CAPTURE(endpoint);
    CHECK_FALSE(parse_socket(SocketTable::Tcp, tcp_line(std::string(endpoint), "0100007F:1", "1")));
    CHECK_FALSE(parse_socket(SocketTable::Tcp, tcp_line("0100007F:1", std::string(endpoint), "1")));
  }
  CHECK_FALSE(parse_socket(SocketTable::Tcp, tcp_line("0100007F:1", "0100007F:1", "xx")));
  CHECK_FALSE(parse_socket(SocketTable::Unix, "0: 1 0 flags 0001 03 1571"));
  CHECK_FALSE(parse_socket(SocketTable::Unix, "0: 1 0 00000000 0001 03"));
}

TEST_CASE("the kernel's name of a protocol tells the table", "[process]") {
  CHECK(table_of("TCP") == SocketTable::Tcp);
  CHECK(table_of("TCPv6") == SocketTable::Tcp6);
  CHECK(table_of("UDP") == SocketTable::Udp);
  CHECK(table_of("UDPv6") == SocketTable::Udp6);
  CHECK(table_of("UNIX") == SocketTable::Unix);
  CHECK(table_of("UNIX-STREAM") == SocketTable::Unix);
  CHECK_FALSE(table_of("NETLINK"));
  CHECK_FALSE(table_of(""));
}
