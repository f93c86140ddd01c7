// Step 1: everything is callbacks and timers, as it came from another loop; only the loop is new.
#include "callback_client.hpp"
#include "callback_server.hpp"

class script {
  public:
    explicit script(ouro::loop& home) : home_(home) {}

    void start() {
        auto factory = [known = known_] { return std::make_shared<callback_server>(known); };
        ouro::to_callback(home_, ouro::create_server(factory, "127.0.0.1", 0),
                          [this](ouro::result<ouro::server> made) {
                              if (!made) return home_.stop();
                              server_ = *made;
                              connect();
                          });
    }
    bool finished() const { return next_ == requests.size(); }

  private:
    void connect() {
        auto factory = [] { return std::make_shared<callback_client>(); };
        using connection = ouro::connection<callback_client>;
        ouro::to_callback(home_, ouro::create_connection(factory, server_.addresses().front()),
                          [this](ouro::result<connection> made) {
                              if (!made) return home_.stop();
                              client_ = made->protocol;
                              ask();
                          });
    }
    void ask() {
        if (finished()) return home_.stop();
        client_->request(requests[next_], patience, [this](ouro::result<std::string> reply) {
            show(requests[next_], reply);
            ++next_;
            ask();
        });
    }

    ouro::loop& home_;
    std::shared_ptr<shop> known_ = std::make_shared<shop>();
    ouro::server server_;
    std::shared_ptr<callback_client> client_;
    std::size_t next_ = 0;
};

int main() {
    ouro::loop home;
    script all(home);
    all.start();
    home.run_forever();
    home.close();
    return all.finished() ? 0 : 1;
}
