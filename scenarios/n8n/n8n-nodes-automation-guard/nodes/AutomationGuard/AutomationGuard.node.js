'use strict';

const { description } = require('./description');
const { Guard, shownError } = require('./guard');
const { OPERATIONS } = require('./operations');

class AutomationGuard {
  constructor() {
    this.description = description;
  }

  async execute() {
    const items = this.getInputData();
    try {
      const { baseUrl } = await this.getCredentials('automationGuardApi');
      const longestWaitS = this.getNodeParameter('longestWaitMinutes', 0, 30) * 60;
      const operation = OPERATIONS[this.getNodeParameter('operation', 0)];
      return [await operation(this, new Guard(this, baseUrl, longestWaitS), items)];
    } catch (error) {
      if (!this.continueOnFail()) throw shownError(this, error);
      return [[{ json: { ...error.problem, error: error.message }, pairedItem: items.map((_, item) => ({ item })) }]];
    }
  }
}

module.exports = { AutomationGuard };
