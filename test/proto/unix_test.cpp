// Unix sockets through the calls that take an address.
#include <ouro/proto/server.hpp>

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "async_test.hpp"
#include "recorder.hpp"

namespace ouro::test {
namespace {

/// A folder of this test's own, gone at the end.
class scratch_folder {
  public:
    scratch_folder() {
        char name[] = "/tmp/ouro-test-XXXXXX";
        BOOST_REQUIRE(::mkdtemp(name) != nullptr);
        path_ = name;
        file_ = path_ + "/socket";
    }
    ~scratch_folder() {
        ::unlink(file_.c_str());
        ::rmdir(path_.c_str());
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    const std::string& file() const { return file_; }

  private:
    std::string path_;
    std::string file_;
};

auto silent_protocol() {
    return [] { return std::make_shared<protocol>(); };
}

/// Something is at `path`: nobody else can be bound there.
bool taken(const std::string& path) {
    auto second = socket::open(loop::current(), AF_UNIX).value();
    const auto bound = second.bind(address::from_path(path).value());
    return !bound && bound.error() == std::errc::address_in_use;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(unix_sockets)

// rule 443
OURO_ASYNC_TEST(connecting_to_a_missing_path_is_not_found_and_names_the_path) {
    const scratch_folder folder;
    const auto where = address::from_path(folder.file()).value();
    const auto made = co_await as_result(create_connection(silent_protocol(), where));
    BOOST_REQUIRE(!made);
    BOOST_CHECK(made.error() == std::errc::no_such_file_or_directory);
    BOOST_TEST(made.error().message().find(folder.file()) != std::string::npos);
}

// rule 435
OURO_ASYNC_TEST(a_path_in_use_refuses_the_server_names_itself_and_keeps_no_descriptor) {
    const scratch_folder folder;
    const auto where = address::from_path(folder.file()).value();
    auto first = co_await create_server(silent_protocol(), where);
    const auto before = loop::current().counters().descriptors;
    const auto second = co_await as_result(create_server(silent_protocol(), where));
    BOOST_REQUIRE(!second);
    BOOST_CHECK(second.error() == std::errc::address_in_use);
    BOOST_TEST(second.error().message().find(folder.file()) != std::string::npos);
    BOOST_TEST(loop::current().counters().descriptors == before);
    first.close();
    co_await first.wait_closed();
}

// rule 438
OURO_ASYNC_TEST(a_socket_file_given_as_an_address_stays_when_its_server_closes) {
    const scratch_folder folder;
    auto server =
        co_await create_server(silent_protocol(), address::from_path(folder.file()).value());
    BOOST_TEST(taken(folder.file()));
    server.close();
    co_await server.wait_closed();
    co_await settle();
    BOOST_TEST(taken(folder.file()));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
