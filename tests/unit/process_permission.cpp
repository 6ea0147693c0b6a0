#include <catch2/catch.hpp>
#include <string>

#include "process/namespace_pids.hpp"
#include "process/permission.hpp"
#include "pyscope/command_hint.hpp"
#include "pyscope/render.hpp"

using namespace pyscope;

namespace {

constexpr std::uint64_t kAll = 0x1FFFFFFFFFF;
constexpr std::uint64_t kPtrace = std::uint64_t{1} << 19U;

/// A user on a machine with sudo, and a process of the same user: nothing that refuses.
RefusalFacts plain() {
  RefusalFacts facts;
  facts.pid = 4711;
  facts.name = "python3";
  facts.uids = facts.gids = Ids{1000, 1000, 1000};
  facts.own_uids = facts.own_gids = Ids{1000, 1000, 1000};
  facts.user = facts.own_user = "ann";
  facts.own_bounding = kAll;
  facts.dumpable = true;
  facts.same_user_namespace = true;
  facts.has_sudo = true;
  return facts;
}

constexpr const char* kSudo = "sudo /opt/pyscope why 4711 --thread 'worker 1'";

RefusalFacts root_in(ContainerRuntime runtime) {
  RefusalFacts facts = plain();
  facts.own_uids = facts.own_gids = Ids{0, 0, 0};
  facts.own_user = "root";
  facts.own_bounding = facts.own_effective = facts.own_permitted = kAll & ~kPtrace;
  facts.where.runtime = runtime;
  facts.has_sudo = false;
  return facts;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The error as somebody sees it who typed "/opt/pyscope why 4711 --thread 'worker 1'".
Error in_words(Error error) {
  error.hint = render_hint(error, {"/opt/pyscope", {"why", "4711", "--thread", "worker 1"}});
  return error;
}

Error explain(const RefusalFacts& facts) {
  return in_words(explain_refusal(facts));
}

Error explain_hiding(const RefusalFacts& facts, std::string_view mounts) {
  return in_words(explain_hidden(facts, mounts));
}

}  // namespace

TEST_CASE("the uid, the gid and setuid programs are told apart", "[process]") {
  RefusalFacts facts = plain();
  facts.uids = Ids{0, 0, 0};
  facts.user = "root";
  Error error = explain(facts);
  CHECK(error.kind == ErrorKind::NotPermitted);
  CHECK(error.message ==
        "not permitted to read process 4711 (python3): it belongs to user 0 (root) and you are "
        "user 1000 (ann)");
  CHECK(error.hint == kSudo);

  facts.uids = Ids{1000, 0, 0};
  error = explain(facts);
  CHECK(has(error.message, "runs with the rights of user 0 (root) (a setuid program)"));
  CHECK(error.hint == kSudo);

  facts = plain();
  facts.gids = Ids{1000, 42, 42};
  error = explain(facts);
  CHECK(has(error.message, "its groups are 1000 (real), 42 (effective)"));
  CHECK(error.hint == kSudo);
}

TEST_CASE("what isn't dumpable can be made so by the program itself", "[process]") {
  RefusalFacts facts = plain();
  facts.dumpable = false;
  Error error = explain(facts);
  CHECK(has(error.message, "it isn't dumpable"));
  CHECK(error.hint == std::string(kSudo) + "; or in the program: prctl(PR_SET_DUMPABLE, 1)");
  // Where more than that refuses, that wouldn't help.
  facts.uids = Ids{1001, 1001, 1001};
  CHECK_FALSE(has(explain(facts).hint, "prctl"));
}

TEST_CASE("capabilities that the process has and the caller lacks are named", "[process]") {
  RefusalFacts facts = plain();
  facts.capabilities = 1U << 10U;
  facts.dumpable = false;  // as the kernel makes it when a program starts with capabilities
  CHECK(has(explain(facts).message, "it holds CAP_NET_BIND_SERVICE, which you lack"));
  CHECK(explain(facts).hint == kSudo);
  facts.capabilities = kAll;
  CHECK(has(explain(facts).message, "CAP_DAC_READ_SEARCH and 38 more"));
  facts.capabilities = std::uint64_t{1} << 60U;
  CHECK(has(explain(facts).message, "it holds capability 60"));
  // Those that the caller has, too, don't matter.
  facts = plain();
  facts.capabilities = facts.own_permitted = 1U << 10U;
  CHECK_FALSE(has(explain(facts).message, "CAP_NET"));
}

TEST_CASE("Yama refuses memory, and only where it does", "[process]") {
  RefusalFacts facts = plain();
  facts.step = RefusedStep::Reading;
  facts.ptrace_scope = 1;
  Error error = explain(facts);
  CHECK(has(error.message, "kernel.yama.ptrace_scope is 1"));
  CHECK(has(error.message, "pyscope is none of them"));
  CHECK(error.hint.starts_with(kSudo));
  CHECK(has(error.hint, "PR_SET_PTRACER"));
  facts.descends_from_us = true;
  CHECK_FALSE(has(explain(facts).message, "yama"));
  facts.descends_from_us = false;
  facts.step = RefusedStep::Listing;
  CHECK_FALSE(has(explain(facts).message, "yama"));

  facts.step = RefusedStep::Reading;
  facts.ptrace_scope = 2;
  error = explain(facts);
  CHECK(has(error.message, "kernel.yama.ptrace_scope is 2, which asks for CAP_SYS_PTRACE"));
  CHECK(error.hint == kSudo);
  facts.uids = Ids{0, 0, 0};  // comes first
  CHECK(has(explain(facts).message, "it belongs to user 0"));

  facts.ptrace_scope = 3;
  facts.own_effective = kAll;
  error = explain(facts);
  CHECK(has(error.message, "kernel.yama.ptrace_scope is 3"));
  CHECK(has(error.hint, "reboot"));
  CHECK_FALSE(has(error.hint, "sudo"));
}

TEST_CASE("root without the capability is told how this container gets it", "[process]") {
  RefusalFacts facts = root_in(ContainerRuntime::Docker);
  facts.where.container = "4f1c6c0d8a7e";
  facts.uids = Ids{1000, 1000, 1000};
  Error error = explain(facts);
  CHECK(has(error.message, "root here lacks CAP_SYS_PTRACE, and it belongs to user 1000"));
  CHECK(error.hint ==
        "on the host: docker exec --privileged -u 0 4f1c6c0d8a7e /opt/pyscope why 4711 --thread "
        "'worker 1'; or start the container with docker run --cap-add SYS_PTRACE");
  RefusalFacts own = root_in(ContainerRuntime::Docker);
  own.uids = own.gids = Ids{0, 0, 0};
  own.step = RefusedStep::Reading;
  own.ptrace_scope = 1;
  CHECK(has(explain(own).message,
            "root here lacks CAP_SYS_PTRACE, and kernel.yama.ptrace_scope is 1"));
  facts.where.runtime = ContainerRuntime::Podman;
  CHECK(has(explain(facts).hint, "podman exec --privileged -u 0 4f1c6c0d8a7e"));

  facts.where.runtime = ContainerRuntime::Kubernetes;
  facts.where.pod = "shop-7d9f";
  facts.where.pod_namespace = "prod";
  error = explain(facts);
  CHECK(error.hint ==
        "kubectl debug -it -n prod shop-7d9f --image=IMAGE_WITH_PYSCOPE --target=CONTAINER "
        "--profile=sysadmin; or in the pod's manifest: securityContext: {capabilities: {add: "
        "[SYS_PTRACE]}}");

  facts = root_in(ContainerRuntime::None);
  facts.where.unit = "agent.service";
  error = explain(facts);
  CHECK(has(error.hint, "systemctl edit agent.service"));
  CHECK(has(error.hint, "AmbientCapabilities=CAP_SYS_PTRACE"));
  facts.where.unit = "session-7.scope";
  CHECK(explain(facts).hint ==
        "from a root shell that has it (capsh --print shows what a shell has): /opt/pyscope why "
        "4711 --thread 'worker 1'");
}

TEST_CASE("how root is reached depends on what is there", "[process]") {
  RefusalFacts facts = plain();
  facts.uids = Ids{0, 0, 0};
  facts.has_sudo = false;
  CHECK(explain(facts).hint == R"(su -c '/opt/pyscope why 4711 --thread '\''worker 1'\''')");
  facts.no_new_privileges = true;
  CHECK(has(explain(facts).hint, "in another session"));
  // A container whose root could: its own sudo, if it has one.
  facts = plain();
  facts.uids = Ids{0, 0, 0};
  facts.where.runtime = ContainerRuntime::Docker;
  CHECK(explain(facts).hint == kSudo);
  facts.has_sudo = false;
  CHECK(has(explain(facts).hint, "on the host: docker exec -u 0 CONTAINER /opt/pyscope"));
  // One whose root couldn't either.
  facts.has_sudo = true;
  facts.own_bounding = kAll & ~kPtrace;
  CHECK(has(explain(facts).hint, "docker exec --privileged"));
}

TEST_CASE("a capability counts within its user namespace only", "[process]") {
  RefusalFacts facts = plain();
  facts.own_uids = facts.own_gids = Ids{0, 0, 0};
  facts.own_effective = facts.own_permitted = kAll;
  facts.same_user_namespace = false;
  facts.in_initial_user_namespace = false;
  Error error = explain(facts);
  CHECK(has(error.message, "CAP_SYS_PTRACE is held in this user namespace only"));
  CHECK_FALSE(has(error.hint, "sudo"));
  // The initial one is above all others: there it is something else.
  facts.in_initial_user_namespace = true;
  CHECK(has(explain(facts).message, "security module"));
  // Nor does the wrong namespace's root lack a capability: it wouldn't help.
  facts.in_initial_user_namespace = false;
  facts.own_effective = 0;
  facts.uids = Ids{65534, 65534, 65534};
  CHECK(has(explain(facts).message, "it lives in another user namespace"));
}

TEST_CASE("what is left is a filter of system calls or a security module", "[process]") {
  RefusalFacts facts = plain();
  facts.step = RefusedStep::Reading;
  facts.call_is_filtered = true;
  CHECK(has(explain(facts).message, "a seccomp filter refuses process_vm_readv"));
  facts.where.runtime = ContainerRuntime::Docker;
  CHECK(has(explain(facts).hint, "--security-opt seccomp=unconfined"));
  facts.call_is_filtered = false;
  facts.profile = "docker-default (enforce)";
  CHECK(has(explain(facts).message, "the profile \"docker-default (enforce)\""));
  CHECK(has(explain(facts).hint, "--security-opt apparmor=unconfined"));
  facts.profile.clear();
  CHECK(has(explain(facts).message, "a security module refuses"));
}

TEST_CASE("hidepid is told as /proc is mounted", "[process]") {
  const RefusalFacts facts = plain();
  const std::string before = "22 1 0:5 / /dev rw - devtmpfs udev rw,hidepid=9\n";
  Error error = explain_hiding(
      facts, before + "23 1 0:22 / /proc rw,nosuid shared:1 - proc proc rw,gid=27,hidepid=2\n");
  CHECK(error.kind == ErrorKind::NotPermitted);
  CHECK(error.message == "process 4711 exists, but /proc hides it: it is mounted with hidepid=2");
  CHECK(error.hint == std::string(kSudo) + ", or be in group 27, which sees all (gid=27)");
  error = explain_hiding(facts, before + "23 1 0:22 / /proc rw - proc proc rw,hidepid=noaccess\n");
  CHECK(has(error.message, "hidepid=noaccess"));
  CHECK(error.hint == kSudo);
  for (const char* odd : {"", "\n\n", "23", "23 1 0:22 / /proc rw", "a b c d /proc - "}) {
    CHECK(has(explain_hiding(facts, odd).message, "it is mounted with hidepid"));
  }
}

TEST_CASE("facts that can't be had accuse nobody", "[process]") {
  RefusalFacts facts;
  facts.pid = 1;
  facts.own_uids = Ids{1000, 1000, 1000};
  facts.own_bounding = kAll;
  const Error error = explain_refusal(facts);
  CHECK(has(error.message, "a security module refuses"));
  CHECK(has(render_hint(error), "pyscope dump 1"));
}

TEST_CASE("PIDs of inner namespaces are found in NSpid", "[process]") {
  CHECK(has_inner_pid("Name:\tpython3\nNSpid:\t4711\t7\n", 7));
  CHECK(has_inner_pid("NSpid:\t4711\t70\t7\n", 70));
  CHECK_FALSE(has_inner_pid("NSpid:\t4711\t7\n", 4711));
  CHECK_FALSE(has_inner_pid("NSpid:\t7\n", 7));
  for (const char* odd : {"", "NSpid:", "NSpid:\n", "NSpid:\tx\ty", "NSpid:\t1\t99999999999999"})
    CHECK_FALSE(has_inner_pid(odd, 7));

  const Error none{ErrorKind::NoSuchProcess, "there is no process 7", "hint"};
  CHECK(with_inner_processes(none, 7, {}).message == none.message);
  const std::string id(64, 'a');
  const Error one = with_inner_processes(none, 7, {{4711, "python3", id}});
  CHECK(one.message ==
        "there is no process 7; PID 7 exists inside container aaaaaaaaaaaa as host PID 4711 "
        "(python3)");
  CHECK(render_hint(one) == "pyscope dump 4711");
  CHECK(render_hint(one, {"/opt/pyscope", {"inspect", "7", "shop.orders", "--json"}}) ==
        "pyscope inspect 4711 shop.orders --json");
  const Error many = with_inner_processes(
      none, 7, {{10, "a", "web"}, {11, "b", ""}, {12, "c", ""}, {13, "d", ""}});
  CHECK(has(many.message, "inside container web as host PID 10 (a), another pid namespace as"));
  CHECK(has(many.message, "and 1 more"));
  CHECK(has(render_hint(many), "pyscope ps"));
}
