from latentspeed import OrderParams, OrderRefused, OrderType, Strategy, run


class Quoter(Strategy):
    def on_start(self):
        self.hl = self.connector("hyperliquid")
        self.subscribe(self.hl, "BTC-USD")
        self.every(1.0, self.report)
        self.order = None

    def on_quote(self, connector, quote):
        price = connector.quantize_order_price(quote.trading_pair, quote.bid - 5)
        if self.order and self.order.is_active:
            if abs(self.order.price - price) >= 2:
                connector.cancel(self.order.client_order_id)
            return
        try:
            order_id = connector.buy(OrderParams(quote.trading_pair, 0.001, price, OrderType.LIMIT_MAKER))
            self.order = connector.get_order(order_id)
        except OrderRefused as error:
            self.log.warning("%s", error)

    def on_fill(self, connector, fill):
        self.log.info("%s @ %s", fill.amount, fill.price)

    def report(self):
        print(self.hl.get_position("BTC-USD"), self.hl.get_balance("USDC"))


if __name__ == "__main__":
    run(Quoter)
