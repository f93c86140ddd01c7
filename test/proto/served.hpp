// What the tests of servers share: a recorder on every connection, and free places to listen at.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <ouro/proto/server.hpp>

#include "recorder.hpp"

namespace ouro::test {

/// The recorders of all connections of a server. Copies share them: a server may live longer than
/// the body of its test.
class recorders {
  public:
    std::shared_ptr<base_protocol> add(kind of) {
        return each_->emplace_back(make_recorder(of))->as_protocol();
    }
    auto begin() const noexcept { return each_->begin(); }
    auto end() const noexcept { return each_->end(); }
    bool empty() const noexcept { return each_->empty(); }
    std::size_t size() const noexcept { return each_->size(); }
    const std::shared_ptr<recorder>& back() const { return last_of(*each_); }
    const std::shared_ptr<recorder>& operator[](std::size_t i) const { return each_->at(i); }

  private:
    std::shared_ptr<std::vector<std::shared_ptr<recorder>>> each_ =
        std::make_shared<std::vector<std::shared_ptr<recorder>>>();
};

/// Makes a recorder for each connection and keeps it in `all`.
inline auto each_into(recorders all, kind of = kind::streaming) {
    return [all = std::move(all), of]() mutable { return all.add(of); };
}

/// Says again what it hears.
class echo final : public protocol {
  public:
    void connection_made(std::shared_ptr<transport> on) override { link_ = std::move(on); }
    void data_received(bytes received) override { link_->write(received); }
    void connection_lost(error) override { link_.reset(); }

  private:
    std::shared_ptr<transport> link_;
};
inline auto make_echo() {
    return [] { return std::make_shared<echo>(); };
}

/// An address of that kind that nobody else has.
inline task<address> free_place(medium over) {
    static int count = 0;
    if (over == medium::tcp) co_return co_await address::parse("127.0.0.1:0");
    co_return co_await address::from_path("@ouro-test-serve-" + std::to_string(::getpid()) + "-" +
                                          std::to_string(++count));
}

/// Connects to `where`.
inline task<socket> dial(address where) {
    auto made = co_await socket::open(loop::current(), where.family());
    co_await made.connect(where);
    co_return made;
}

/// Serves recorders at a free place.
inline task<server> serve(recorders all, way how = {}, server_options options = {}) {
    co_return co_await create_server(each_into(all, how.receiver), co_await free_place(how.over),
                                     options);
}

/// Descriptors the loop has open.
inline std::size_t descriptors() { return loop::current().counters().descriptors; }

/// Every connection has ended.
inline bool all_lost(const recorders& all) {
    return std::all_of(all.begin(), all.end(), [](const auto& each) { return each->lost(); });
}

}  // namespace ouro::test
