// A server's protocol that sends back what it gets and counts, without an allocation of its own.
#pragma once

#include <memory>
#include <utility>

#include <ouro/proto/server.hpp>

namespace ouro::test {

/// How many echoes began and ended.
struct echo_counts {
    std::size_t made = 0;
    std::size_t lost = 0;
};

/// Sends back what it gets; at the end of the stream it closes.
class echo final : public protocol {
  public:
    explicit echo(echo_counts& counts) noexcept : counts_(&counts) {}
    void connection_made(std::shared_ptr<transport> link) override {
        ++counts_->made;
        link_ = std::move(link);
    }
    void data_received(bytes data) override { (void)link_->write(data); }
    void connection_lost(error) override {
        ++counts_->lost;
        link_.reset();
    }

  private:
    echo_counts* counts_;
    std::shared_ptr<transport> link_;
};

/// Makes echoes that count in `counts`.
inline auto echoes(echo_counts& counts) {
    return [&counts] { return std::make_shared<echo>(counts); };
}

}  // namespace ouro::test
