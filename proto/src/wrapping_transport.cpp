// A transport around another one, and the protocols that stand in for the user's.
#include <ouro/proto/wrapping_transport.hpp>

#include <system_error>

namespace ouro {

/// Stands between the wrapped transport and one protocol, which it keeps: the kernel may still fill
/// that one's buffer after it was replaced.
template <class Base>
class wrapping_transport::relay : public Base {
  public:
    relay(std::shared_ptr<wrapping_transport> owner, std::shared_ptr<Base> to)
        : owner_(std::move(owner)), to_(std::move(to)) {}
    void connection_made(std::shared_ptr<transport> link) override {
        owner_->wrapped_ = std::move(link);
        owner_->at_made();
        to_->connection_made(owner_);
    }
    bool eof_received() override {
        owner_->at_eof();
        return to_->eof_received();
    }
    void connection_lost(error why) override {
        owner_->receiver_.reset();
        owner_->at_loss(why);
        to_->connection_lost(std::move(why));
    }
    void pause_writing() override {
        owner_->at_pause();
        to_->pause_writing();
    }
    void resume_writing() override {
        owner_->at_resume();
        to_->resume_writing();
    }

  protected:
    std::shared_ptr<wrapping_transport> owner_;
    std::shared_ptr<Base> to_;
};

class wrapping_transport::streaming_relay final : public relay<protocol> {
  public:
    using relay::relay;
    void data_received(bytes data) override { owner_->received(*to_, data); }
};

class wrapping_transport::buffered_relay final : public relay<buffered_protocol> {
  public:
    using relay::relay;
    mut_bytes get_buffer(std::ptrdiff_t hint) override { return lent_ = to_->get_buffer(hint); }
    void buffer_updated(std::size_t count) override {
        owner_->placed(*to_, std::exchange(lent_, {}).first(count));
    }
    bool prefers_copies() const noexcept override { return to_->prefers_copies(); }

  private:
    mut_bytes lent_;
};

class wrapping_transport::leasing_relay final : public relay<lease_protocol> {
  public:
    using relay::relay;
    void data_received(buffer_lease data) override { owner_->leased(*to_, std::move(data)); }
};

std::shared_ptr<base_protocol> wrapping_transport::wrap(std::shared_ptr<base_protocol> receiver) {
    std::shared_ptr<base_protocol> relay;
    if (auto buffered = std::dynamic_pointer_cast<buffered_protocol>(receiver)) {
        relay = std::make_shared<buffered_relay>(shared_from_this(), std::move(buffered));
    } else if (auto streaming = std::dynamic_pointer_cast<protocol>(receiver)) {
        relay = std::make_shared<streaming_relay>(shared_from_this(), std::move(streaming));
    } else if (auto leasing = std::dynamic_pointer_cast<lease_protocol>(receiver)) {
        relay = std::make_shared<leasing_relay>(shared_from_this(), std::move(leasing));
    } else {
        throw std::system_error(
            make_error_code(errc::value_error),
            "a transport needs a protocol, a buffered_protocol or a lease_protocol");
    }
    receiver_ = std::move(receiver);
    return relay;
}

void wrapping_transport::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (!wrapped_ || !receiver_) return;  // not made yet, or lost
    wrapped_->set_protocol(wrap(std::move(receiver)));
}

void wrapping_transport::close() {
    if (wrapped_) wrapped_->close();
}
bool wrapping_transport::is_closing() const noexcept { return wrapped_ && wrapped_->is_closing(); }
std::any wrapping_transport::extra_info(std::string_view name) const {
    return wrapped_ ? wrapped_->extra_info(name) : std::any();
}
bool wrapping_transport::is_reading() const noexcept { return wrapped_ && wrapped_->is_reading(); }
void wrapping_transport::pause_reading() {
    if (wrapped_) wrapped_->pause_reading();
}
void wrapping_transport::resume_reading() {
    if (wrapped_) wrapped_->resume_reading();
}
std::error_code wrapping_transport::write(bytes data) {
    return wrapped_ ? wrapped_->write(data) : std::error_code();
}
std::error_code wrapping_transport::write(std::vector<std::byte>&& data) {
    return wrapped_ ? wrapped_->write(std::move(data)) : std::error_code();
}
std::error_code wrapping_transport::writelines(std::span<const bytes> chunks) {
    return wrapped_ ? wrapped_->writelines(chunks) : std::error_code();
}
std::error_code wrapping_transport::write_eof() {
    return wrapped_ ? wrapped_->write_eof() : std::error_code();
}
bool wrapping_transport::can_write_eof() const noexcept {
    return wrapped_ && wrapped_->can_write_eof();
}
void wrapping_transport::abort() {
    if (wrapped_) wrapped_->abort();
}
std::error_code wrapping_transport::set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                                            std::ptrdiff_t low_bytes) {
    return wrapped_ ? wrapped_->set_write_buffer_limits(high_bytes, low_bytes) : std::error_code();
}
std::pair<std::size_t, std::size_t> wrapping_transport::get_write_buffer_limits() const noexcept {
    return wrapped_ ? wrapped_->get_write_buffer_limits() : std::pair<std::size_t, std::size_t>();
}
std::size_t wrapping_transport::get_write_buffer_size() const noexcept {
    return wrapped_ ? wrapped_->get_write_buffer_size() : 0;
}
transport_statistics wrapping_transport::statistics() const noexcept {
    return wrapped_ ? wrapped_->statistics() : transport_statistics();
}

}  // namespace ouro
