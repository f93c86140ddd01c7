// A transport around another one: the base of those that look at what passes, or change it.
#pragma once

#include <memory>
#include <utility>

#include <ouro/proto/transport.hpp>

namespace ouro {

/// Forwards every call to the transport it is wrapped around, and every callback to its receiver.
/// Derive, and override what is to be different. It may be wrapped around any transport:
///
///     auto outer = std::make_shared<my_transport>();
///     co_await create_connection([&] { return outer->wrap(my_protocol); }, "host", 80);
///
/// The protocol is given the outer one by `connection_made`; before that, calls do nothing.
///
/// Lifetime  made by `std::make_shared`, for one connection. The wrapped transport holds it until
///           `connection_lost` has returned.
/// Threads   the loop's thread.
class wrapping_transport : public transport,
                           public std::enable_shared_from_this<wrapping_transport> {
  public:
    /// What to put on the transport that is to be wrapped, in the place of `receiver`.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) unless `receiver` is a `protocol`,
    ///         a `buffered_protocol` or a `lease_protocol`.
    std::shared_ptr<base_protocol> wrap(std::shared_ptr<base_protocol> receiver);

    void close() override;
    bool is_closing() const noexcept override;
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    std::shared_ptr<base_protocol> get_protocol() const override { return receiver_; }
    std::any extra_info(std::string_view name) const override;
    bool is_reading() const noexcept override;
    void pause_reading() override;
    void resume_reading() override;
    using write_transport::write;
    std::error_code write(bytes data) override;
    std::error_code write(std::vector<std::byte>&& data) override;
    /// Takes the way of `write(bytes)`, so that whoever overrides that one misses nothing.
    std::error_code write(buffer_lease data) override { return write(data.view()); }
    std::error_code writelines(std::span<const bytes> chunks) override;
    std::error_code write_eof() override;
    bool can_write_eof() const noexcept override;
    void abort() override;
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override;
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override;
    std::size_t get_write_buffer_size() const noexcept override;
    transport_statistics statistics() const noexcept override;

  protected:
    /// The transport it is wrapped around; null before `connection_made`.
    transport* wrapped() const noexcept { return wrapped_.get(); }

    // What the wrapped transport tells, before the receiver hears of it. The first three tell the
    // receiver themselves.
    /// Bytes for a streaming protocol, a view as in `protocol::data_received`.
    virtual void received(protocol& to, bytes data) { to.data_received(data); }
    /// Bytes that were placed in the memory of a buffered protocol.
    virtual void placed(buffered_protocol& to, mut_bytes data) { to.buffer_updated(data.size()); }
    /// Bytes for a protocol that may keep them.
    virtual void leased(lease_protocol& to, buffer_lease data) {
        to.data_received(std::move(data));
    }
    /// The connection stands.
    virtual void at_made() {}
    /// The peer will send no more.
    virtual void at_eof() {}
    /// The receiver is about to be paused.
    virtual void at_pause() {}
    /// The receiver may go on.
    virtual void at_resume() {}
    /// The connection is over.
    virtual void at_loss(const error&) {}

  private:
    template <class Base>
    class relay;
    class streaming_relay;
    class buffered_relay;
    class leasing_relay;
    std::shared_ptr<transport> wrapped_;
    std::shared_ptr<base_protocol> receiver_;
};

}  // namespace ouro
