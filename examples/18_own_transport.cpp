// A transport of one's own: it masks every byte on its way, around any other transport, and is put
// through what every one must do. docs/transports.md explains it.
#include <cstdio>

#include <ouro/ouro.hpp>
#include <ouro/testing/check_stream_transport.hpp>

class masking_transport final : public ouro::wrapping_transport {
  public:
    explicit masking_transport(std::byte mask) : mask_(mask) {}

    // What is written is masked in memory of our own, and given away.
    using write_transport::write;
    std::error_code write(ouro::bytes data) override {
        return write(std::vector<std::byte>(data.begin(), data.end()));
    }
    std::error_code write(std::vector<std::byte>&& data) override {
        apply(data);
        return wrapping_transport::write(std::move(data));
    }
    std::error_code writelines(std::span<const ouro::bytes> chunks) override {
        std::vector<std::byte> all;
        for (const ouro::bytes each : chunks) all.insert(all.end(), each.begin(), each.end());
        return write(std::move(all));
    }

  private:
    // A streaming protocol gets a masked copy, one of leases a lease of it; a buffered one has its
    // own memory masked.
    void received(ouro::protocol& to, ouro::bytes data) override {
        std::vector<std::byte> copy(data.begin(), data.end());
        apply(copy);
        to.data_received(copy);
    }
    void placed(ouro::buffered_protocol& to, ouro::mut_bytes data) override {
        apply(data);
        to.buffer_updated(data.size());
    }
    void leased(ouro::lease_protocol& to, ouro::buffer_lease data) override {
        std::vector<std::byte> copy(data.view().begin(), data.view().end());
        apply(copy);
        to.data_received(ouro::buffer_lease::copy_of(copy));
    }
    void apply(ouro::mut_bytes data) const {
        for (std::byte& each : data) each ^= mask_;
    }
    std::byte mask_;
};

/// Puts `factory()` on one end, behind a mask.
ouro::task<std::shared_ptr<ouro::transport>> masked(ouro::protocol_factory factory,
                                                    std::shared_ptr<ouro::memory_transport> end) {
    auto outer = std::make_shared<masking_transport>(std::byte{0x5a});
    co_await ouro::create_connection([&outer, &factory] { return outer->wrap(factory()); },
                                     std::move(end));
    co_return outer;
}

/// Both ends mask, so each hears what the other one says.
ouro::task<ouro::testing::transport_pair> two_ends(ouro::protocol_factory left,
                                                   ouro::protocol_factory right) {
    auto [one, other] = ouro::memory_pipe(ouro::loop::current());
    auto near = co_await masked(std::move(left), one);
    auto far = co_await masked(std::move(right), other);
    co_return {std::move(near), std::move(far)};
}

ouro::task<int> check() {
    const auto report = co_await ouro::testing::check_stream_transport(two_ends);
    std::puts(report.describe().c_str());
    co_return report.passed() ? 0 : 1;
}

int main() { return ouro::run(check); }
